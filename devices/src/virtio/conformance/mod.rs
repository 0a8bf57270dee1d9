//! Whether every device keeps to VIRTIO 1.3 through every transport, whatever its driver does.
//!
//! Each test takes a machine with a device behind a transport and plays the driver, without KVM.
//! A test of a rule names its clause. What a broken driver must find is the same everywhere:
//! `DEVICE_NEEDS_RESET`, and a device that works again after a reset.

mod chains;
mod configuration;
mod devices;
mod msix;
mod notifications;
mod queues;
mod status;

use std::time::Duration;

use self::devices::Subject;
use crate::virtio::testing::pci::wait;
use crate::virtio::testing::{MmioDriver, PciDriver, TransportDriver};

/// How long a device is given to do what it must not.
const MOMENT: Duration = Duration::from_millis(20);

/// Resets the device, sets it up by the rules, and sees that it answers.
fn works_after_reset<T: TransportDriver>(driver: &mut T, subject: &Subject) {
    driver.set_device_status(0);
    assert_eq!(driver.device_status(), 0, "a reset did not end");
    driver.run();
    subject.probe(driver);
    driver.set_device_status(0);
    assert_eq!(driver.device_status(), 0);
}

/// Waits for `DEVICE_NEEDS_RESET`.
fn wait_for_needs_reset<T: TransportDriver>(driver: &T) {
    wait(|| driver.needs_reset());
}

// Expands to a module for each device, with a module for each transport in it, with each test of
// the suite in that: `rng::pci::status::features_are_fixed_after_features_ok` and so on.
macro_rules! suite {
    ($($device:ident),* $(,)?) => {$(
        mod $device {
            mod pci {
                suite!(@tests crate::virtio::testing::PciDriver, $device);
                suite!(@list crate::virtio::testing::PciDriver, $device; msix:
                    a_masked_vector_is_pending_until_it_is_unmasked,
                    a_vector_can_be_reassigned_while_the_device_runs,
                    without_a_vector_there_is_no_message,
                    an_impossible_vector_is_refused,
                );
            }
            mod mmio {
                suite!(@tests crate::virtio::testing::MmioDriver, $device);
            }
        }
    )*};
    (@tests $driver:ty, $device:ident) => {
        suite!(@list $driver, $device; status:
            every_status_write_is_a_legal_step_or_breaks_the_device,
            features_that_were_not_offered_are_refused,
            a_driver_of_the_legacy_interface_is_refused,
            features_are_fixed_after_features_ok,
            a_reset_in_every_state_gives_a_fresh_device,
            nothing_runs_before_driver_ok,
            a_pause_at_any_time_changes_nothing_that_the_driver_sees,
        );
        suite!(@list $driver, $device; queues:
            an_absent_queue_has_no_size_and_ignores_writes,
            powers_of_two_up_to_the_maximum_are_the_sizes,
            small_queues_work,
            queue_registers_are_fixed_while_the_device_runs,
            rings_outside_ram_break_the_device,
            misaligned_rings_break_the_device,
            overlapping_rings_harm_nobody,
            queues_that_are_not_enabled_stay_untouched,
        );
        suite!(@list $driver, $device; chains:
            descriptor_indices_outside_the_table_break_the_device,
            loops_break_the_device,
            buffers_outside_ram_break_the_device,
            readable_after_writable_breaks_the_device,
            malformed_indirect_tables_break_the_device,
            indirect_tables_work,
            indirect_tables_must_be_negotiated,
            chains_of_4_gib_break_the_device,
            jumping_available_indices_break_the_device,
            empty_and_wrong_way_buffers_harm_nobody,
            descriptors_that_change_under_the_device_harm_nobody,
        );
        suite!(@list $driver, $device; notifications:
            absent_queues_can_be_notified_in_every_state,
            a_driver_that_wants_no_interrupts_gets_none,
            an_interrupt_comes_at_the_used_event,
            buffers_available_before_driver_ok_are_used,
        );
        suite!(@list $driver, $device; configuration:
            the_configuration_reads_the_same_in_every_width,
            garbage_in_the_configuration_harms_nobody,
            the_generation_stands_still_with_the_configuration,
        );
    };
    (@list $driver:ty, $device:ident; $module:ident: $($test:ident),* $(,)?) => {
        mod $module {$(
            #[test]
            fn $test() {
                let subject = crate::virtio::conformance::devices::$device();
                crate::virtio::conformance::$module::$test::<$driver>(&subject);
            }
        )*}
    };
}

suite!(echo, rng, console, blk, net, fs, p9, vsock, balloon);

/// The suite's drivers find what they are given.
#[test]
fn both_transports_show_the_same_device() {
    for subject in devices::all() {
        let pci = PciDriver::with_device(subject.device());
        let mmio = MmioDriver::with_device(subject.device());
        assert_eq!(pci.offered(), mmio.offered());
        for queue in 0..9 {
            pci.select_queue(queue);
            mmio.select_queue(queue);
            assert_eq!(pci.queue_size_max(), mmio.queue_size_max());
        }
    }
}
