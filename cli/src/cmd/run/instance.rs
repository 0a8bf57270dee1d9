//! The VM's name in the runtime directory: taken before the machine is built, given back at its end.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use serde_json::Value;
use vmm::config::value::VsockValue;
use vmm::config::{
    DeviceSpec, Field, Layer, NetBackendSpec, Origin, USER_GUEST as GUEST, VmSpec, VsockSpec,
};
use vmm::instance::{Instance, InstanceError, Record, VSOCK};

use super::Surroundings;
use super::plan::Plan;
use crate::diagnostic::Diagnostic;

/// The most VMs that share a name that nobody chose.
const NUMBERS: u32 = 4096;

/// Takes the name that `plan` gives the VM. A kernel that is run by itself without a name is
/// given a free one, and so is a machine of QEMU's, where a name is not unique.
pub(super) fn claim(
    plan: &mut Plan,
    surroundings: &Surroundings<'_>,
) -> Result<Instance, Diagnostic> {
    let dir = surroundings.runtime.for_a_start()?;
    let wanted = plan.resolved.spec.name.clone();
    let chosen = plan.resolved.origins(Field::Name) != ["default"] && !surroundings.qemu;
    let mut number = 1;
    loop {
        let name = match number {
            1 => wanted.clone(),
            number => format!("{wanted}-{number}"),
        };
        match Instance::claim(dir, &name) {
            Ok(instance) => {
                if number > 1 {
                    let layer = Layer {
                        name: Some(name),
                        ..Layer::default()
                    };
                    plan.layers.push((Origin::Assigned, layer));
                    plan.resolve();
                }
                return Ok(instance);
            }
            Err(InstanceError::InUse { .. }) if !chosen && number < NUMBERS => number += 1,
            Err(error) => return Err(refused(plan, &error)),
        }
    }
}

/// Gives a guest that runs commands for the host a socket device, if it has none. Its socket is in the VM's folder.
pub(super) fn give_agent(plan: &mut Plan, instance: &Instance) {
    let devices = &plan.resolved.spec.devices;
    let has_one = devices
        .iter()
        .any(|device| matches!(device, DeviceSpec::Vsock(_)));
    let socket = instance.folder().join(VSOCK);
    let fits = socket.as_os_str().len() <= VsockSpec::MAX_PATH;
    let Some(bundle) = plan.bundle.as_ref().filter(|bundle| bundle.agent) else {
        return;
    };
    if has_one || !fits {
        return;
    }
    // Behind a socket of its own the number is nobody else's business.
    let device = VsockValue {
        cid: Some(VsockSpec::MIN_CID),
        socket: Some(socket),
    };
    let layer = Layer {
        vsock: Some(device),
        ..Layer::default()
    };
    plan.layers
        .push((Origin::Bundle(bundle.dir.clone()), layer));
    plan.resolve();
}

/// Writes down what runs under the name. The consoles are logged in the folder `logs`.
pub(super) fn describe(
    plan: &mut Plan,
    instance: &mut Instance,
    logs: Option<&Path>,
) -> Result<(), Diagnostic> {
    let spec = &mut plan.resolved.spec;
    spec.instance = Some(instance.folder().to_owned());
    spec.console_logs = logs.map(|logs| logs.join(&spec.name));
    let control = spec.control.get_or_insert_with(|| instance.control());
    let control = absolute(control);
    let directory = env::current_dir().ok();
    let told = spec.guest_address.map(|address| address.ip);
    let address = told.or_else(|| leases(spec).then_some(GUEST));
    let record = Record {
        version: Record::VERSION,
        name: spec.name.clone(),
        pid: process::id(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        started: now(),
        variant: plan.bundle.as_ref().map(|bundle| bundle.variant.clone()),
        bundle: plan.bundle.as_ref().map(|bundle| absolute(&bundle.dir)),
        process: plan.process_name.clone(),
        directory,
        address,
        direct: spec.guest_address.is_some(),
        ssh_key: plan.ssh_key.clone(),
        control,
        settings: Value::Null,
        spec: Value::Null,
    };
    let record = record.with_config(&plan.resolved);
    let described = instance.describe(&record);
    described.map_err(|error| refused(plan, &error))
}

/// Whether the guest gets its address from us.
fn leases(spec: &VmSpec) -> bool {
    spec.devices.iter().any(|device| match device {
        DeviceSpec::Net(net) => matches!(net.backend, NetBackendSpec::User(_)),
        _ => false,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn refused(plan: &Plan, error: &InstanceError) -> Diagnostic {
    let name = &plan.resolved.spec.name;
    match error {
        InstanceError::InUse { .. } => {
            let diagnostic =
                Diagnostic::failure("name-in-use", format!("the name `{name}` is in use"))
                    .because(error);
            let another = match &plan.bundle {
                // PCP's scripts would take one whose name begins with this one's for it.
                Some(bundle) => format!(
                    "`--name {}-2` runs another one beside it, with ports of its own",
                    bundle.variant
                ),
                None => "`--name` gives this one another name".to_owned(),
            };
            diagnostic
                .hint(another)
                .hint(format!("`pcp-vmm stop {name}` ends the one that runs"))
        }
        InstanceError::Folder { .. } | InstanceError::TooLong { .. } => Diagnostic::failure(
            "runtime-dir",
            format!("cannot run `{name}`"),
        )
        .because(error)
        .hint(
            "`--runtime-dir DIR` or `PCP_VMM_RUNTIME_DIR` names a folder of yours for running VMs",
        ),
    }
}
