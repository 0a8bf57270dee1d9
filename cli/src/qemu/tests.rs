//! The complete command lines of those that run QEMU, and what they come to.

use super::*;

fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_ascii_whitespace().map(str::to_owned)),
        }
    }
    words
}

fn translation(line: &str) -> Translation {
    translate(&words(line), &|_| Image::Qcow2)
}

fn flags(line: &str) -> Vec<String> {
    let translation = translation(line);
    assert_eq!(translation.refused, []);
    for row in &translation.rows {
        assert!(!row.effect.is_empty(), "nothing is said of {}", row.option);
    }
    let mut flags: Vec<String> = translation.flags().map(str::to_owned).collect();
    flags.sort();
    flags
}

/// Why `line`, with a kernel, cannot be run.
fn refusals(line: &str) -> Vec<String> {
    let translation = translation(&format!("-kernel k {line}"));
    let refused = translation.refused.into_iter();
    refused
        .map(|it| format!("{}: {}", it.option, it.why))
        .collect()
}

/// That `line`, with a kernel, says `flag`.
fn says(line: &str, flag: &str) {
    let flags = flags(&format!("-kernel k {line}"));
    assert!(flags.iter().any(|it| it == flag), "{line}: {flags:?}");
}

/// What `microvm.nix` makes of PCP's bpf variant.
const PCP: &str = "-name pcp-bpf-vm \
    -M microvm,accel=kvm:tcg,acpi=on,mem-merge=on,pcie=on,pic=off,pit=off,rtc=on,usb=off -m 1024 -smp 4 \
    -nodefaults -no-user-config -no-reboot -kernel K/bzImage -initrd I/initrd -chardev stdio,id=stdio,signal=off \
    -device virtio-rng-pci -enable-kvm -cpu host,+x2apic,-sgx -device i8042 \
    -append ' reboot=t panic=-1 8250.nr_uarts=1 console=ttyS0,115200 console=hvc0 init=T/init regInfo=C/registration' \
    -nographic -qmp unix:pcp-bpf-vm.sock,server,nowait -numa node,memdev=mem \
    -object memory-backend-memfd,id=mem,size=1024M,share=on \
    -fsdev local,id=fs0,path=/nix/store,security_model=none,readonly=false \
    -device virtio-9p-pci,fsdev=fs0,mount_tag=ro-store \
    -netdev user,id=eth0,hostfwd=tcp::44621-:44321,hostfwd=tcp::44622-:44322,hostfwd=tcp::22422-:22,hostfwd=tcp::9400-:9100, \
    -device virtio-net-pci,netdev=eth0,mac=02:00:00:0a:cb:01,romfile=,mq=on,vectors=10 \
    -name pcp-bpf-vm,process=pcp-bpf-vm -serial tcp:127.0.0.1:24530,server,nowait -device virtio-serial-pci \
    -chardev socket,id=virtcon,port=24531,host=127.0.0.1,server=on,wait=off -device virtconsole,chardev=virtcon";

#[test]
fn pcps_own_guest() {
    assert_eq!(
        flags(PCP),
        [
            "--cmdline= reboot=t panic=-1 8250.nr_uarts=1 console=ttyS0,115200 console=hvc0 init=T/init regInfo=C/registration",
            "--console=serial=tcp=127.0.0.1:24530",
            "--console=virtio=tcp=127.0.0.1:24531",
            "--cpus=4",
            "--forward=tcp:0.0.0.0:22422:22",
            "--forward=tcp:0.0.0.0:44621:44321",
            "--forward=tcp:0.0.0.0:44622:44322",
            "--forward=tcp:0.0.0.0:9400:9100",
            "--initrd=I/initrd",
            "--kernel=K/bzImage",
            "--mac=02:00:00:0a:cb:01",
            "--memory=1024M",
            "--monitor=qmp=pcp-bpf-vm.sock",
            "--name=pcp-bpf-vm",
            "--net=user",
            "--process-name=pcp-bpf-vm",
            "--rng=true",
            "--share=ro-store=/nix/store,proto=9p,security=none",
        ]
    );
}

#[test]
fn pcps_guest_on_its_tap() {
    let line = PCP.replace(
        "user,id=eth0,hostfwd=tcp::44621-:44321,hostfwd=tcp::44622-:44322,hostfwd=tcp::22422-:22,hostfwd=tcp::9400-:9100,",
        "tap,id=eth0,ifname=pcptap0,script=no,downscript=no,queues=4",
    );
    let flags = flags(&line);
    assert!(
        flags.contains(&"--net=tap,ifname=pcptap0,queues=4".to_owned()),
        "{flags:?}"
    );
}

#[test]
fn nixpkgs_run_in_linux_vm() {
    let line = "-machine accel=kvm:tcg -cpu max -nographic -no-reboot -vga none -device virtio-rng-pci \
        -chardev socket,id=store,path=virtio-store.sock -device vhost-user-fs-pci,chardev=store,tag=store \
        -chardev socket,id=xchg,path=virtio-xchg.sock -device vhost-user-fs-pci,chardev=xchg,tag=xchg \
        -drive file=disk-image.qcow2,if=virtio,cache=unsafe,werror=report -kernel K/bzImage -initrd I/initrd \
        -append 'console=ttyS0 panic=1 command=STAGE2 mountDisk=1 loglevel=4' -smp cpus=8 \
        -m 512 -object memory-backend-memfd,id=mem,size=512M,share=on -machine memory-backend=mem";
    assert_eq!(
        flags(line),
        [
            "--cmdline=console=ttyS0 panic=1 command=STAGE2 mountDisk=1 loglevel=4",
            "--console=serial=stdio",
            "--cpus=8",
            "--disk=disk-image.qcow2,format=qcow2,cache=unsafe",
            "--initrd=I/initrd",
            "--kernel=K/bzImage",
            "--memory=512M",
            "--net=none",
            "--rng=true",
            "--share=store=virtio-store.sock,proto=vhost-user",
            "--share=xchg=virtio-xchg.sock,proto=vhost-user",
        ]
    );
}

#[test]
fn microvm_nix_with_its_devices() {
    let line = "-name web -M microvm,accel=kvm:tcg,acpi=on,mem-merge=on,pcie=on,pic=off,pit=off,rtc=on,usb=off -m 512M \
        -smp 1 -nodefaults -no-user-config -no-reboot -kernel k -initrd i -chardev stdio,id=stdio,signal=off \
        -device virtio-rng-pci -smbios type=1,uuid=a77a03d9-0000-4000-8000-000000000000 \
        -serial chardev:stdio -enable-kvm -cpu host,+x2apic,-sgx -device i8042 -append 'console=ttyS0 reboot=t' -nographic \
        -qmp unix:web.sock,server,nowait \
        -sandbox on -drive id=store,format=raw,read-only=on,file=store.erofs,if=none,aio=io_uring \
        -device virtio-blk-pci,drive=store -drive id=vda,format=raw,file=a,,b.img,if=none,aio=io_uring,discard=unmap,cache=none,read-only=off \
        -device virtio-blk-pci,drive=vda,serial=data -numa node,memdev=mem \
        -object memory-backend-memfd,id=mem,size=512M,share=on -chardev socket,id=fs0,path=web-virtiofs-etc.sock \
        -device vhost-user-fs-pci,chardev=fs0,tag=etc -netdev tap,id=vm-a,ifname=vm-a,script=no,downscript=no,vhost=on \
        -device virtio-net-pci,netdev=vm-a,mac=02:00:00:00:00:01,romfile= -device vhost-vsock-pci,guest-cid=5 \
        -device virtio-balloon,free-page-reporting=on,id=balloon0,deflate-on-oom=on \
        -fw_cfg name=opt/io.systemd.credentials/KEY,file=/run/key";
    assert_eq!(
        flags(line),
        [
            "--balloon=0",
            "--cmdline=console=ttyS0 reboot=t",
            "--console=serial=stdio",
            "--cpus=1",
            "--credential=KEY=@/run/key",
            "--disk=a,,b.img,format=raw,io=uring,serial=data",
            "--disk=store.erofs,format=raw,ro,io=uring",
            "--initrd=i",
            "--kernel=k",
            "--mac=02:00:00:00:00:01",
            "--memory=512M",
            "--monitor=qmp=web.sock",
            "--name=web",
            "--net=tap,ifname=vm-a,vhost=on",
            "--rng=true",
            "--sandbox=on",
            "--share=etc=web-virtiofs-etc.sock,proto=vhost-user",
            "--uuid=a77a03d9-0000-4000-8000-000000000000",
            "--vsock=cid=5,vhost",
        ]
    );
}

#[test]
fn the_nixos_test_driver() {
    let line = "-name machine -m 1024 -smp 1 -device virtio-rng-pci -net nic,netdev=user.0,model=virtio \
        -netdev user,id=user.0, -virtfs local,path=/nix/store,security_model=none,mount_tag=nix-store \
        -virtfs local,path=/tmp/xchg,security_model=none,mount_tag=xchg \
        -drive cache=writeback,file=/tmp/vm-state-machine/machine.qcow2,id=drive1,if=none,index=1,werror=report \
        -device virtio-blk-pci,bootindex=1,drive=drive1,serial=root \
        -device virtio-keyboard -usb -device usb-tablet,bus=usb-bus.0 -kernel k -initrd i -append 'console=ttyS0' \
        -monitor unix:/tmp/vm-state-machine/monitor -chardev socket,id=shell,path=/tmp/vm-state-machine/shell \
        -no-reboot -device virtio-serial -device virtconsole,chardev=shell -device virtio-rng-pci -serial stdio -nographic";
    assert_eq!(
        flags(line),
        [
            "--cmdline=console=ttyS0",
            "--console=serial=stdio",
            "--console=virtio=connect=/tmp/vm-state-machine/shell",
            "--cpus=1",
            "--disk=/tmp/vm-state-machine/machine.qcow2,format=qcow2,serial=root",
            "--initrd=i",
            "--kernel=k",
            "--mac=52:54:00:12:34:56",
            "--memory=1024M",
            "--monitor=hmp=/tmp/vm-state-machine/monitor,connect",
            "--name=machine",
            "--net=user",
            "--rng=true",
            "--share=nix-store=/nix/store,proto=9p,security=none",
            "--share=xchg=/tmp/xchg,proto=9p,security=none",
        ]
    );
}

#[test]
fn the_order_of_options_does_not_matter() {
    let line = "-device virtio-net-device,netdev=n -serial chardev:c -chardev null,id=c -netdev user,id=n -M microvm";
    says(line, "--net=user");
    says(line, "--console=serial=none");
    says(line, "--transport=mmio");
}

#[test]
fn a_kernel_alone_gets_qemus_own_amounts() {
    assert_eq!(
        flags("-kernel k"),
        [
            "--cmdline=",
            "--console=serial=none",
            "--cpus=1",
            "--kernel=k",
            "--memory=128M",
            "--net=none"
        ]
    );
}

#[test]
fn sizes_and_numbers_are_qemus() {
    for (line, flag) in [
        ("-m 1024", "--memory=1024M"),
        ("-m size=2G,slots=2,maxmem=4G", "--memory=2048M"),
        ("-m 512 -m 600k", "--memory=614400B"),
        ("-smp 2", "--cpus=2"),
        ("-smp cpus=3,maxcpus=8", "--cpus=3"),
        ("-smp sockets=2,cores=3,threads=2", "--cpus=12"),
        ("-smp 200", "--cpus=64"),
        ("-M microvm,acpi=off", "--transport=mmio-cmdline"),
        ("-drive file=a,format=raw -M microvm", "--disk=a,format=raw"),
        (
            "-blockdev driver=file,node-name=f,filename=a -blockdev driver=qcow2,node-name=q,file=f,read-only=on \
          -device virtio-blk-pci,drive=q,num-queues=2",
            "--disk=a,format=qcow2,ro,queues=2",
        ),
        (
            "-virtfs local,path=/s,security_model=mapped,mount_tag=t,readonly=on",
            "--share=t=/s,ro,proto=9p,security=mapped-xattr",
        ),
        (
            "-net nic,model=virtio -net user,hostfwd=udp::1-:2",
            "--forward=udp:0.0.0.0:1:2",
        ),
        (
            "-net nic,netdev=user.0,model=virtio -netdev user,id=user.0,",
            "--mac=52:54:00:12:34:56",
        ),
        (
            "-nic user,model=virtio-net-pci,restrict=y,ipv6=off",
            "--net=user,restrict=on,ipv6=off",
        ),
        ("-monitor unix:/m", "--monitor=hmp=/m,connect"),
        (
            "-chardev socket,id=m,path=/m,server=on -mon chardev=m,mode=control",
            "--monitor=qmp=/m",
        ),
        (
            "-smbios type=11,value=io.systemd.credential:a=b=c",
            "--credential=a=b=c",
        ),
    ] {
        says(line, flag);
    }
    let warned = translation("-kernel k -smp 200").warnings;
    assert!(warned[0].contains("64 vCPUs"), "{warned:?}");
}

#[test]
fn what_cannot_be_had_is_told_all_at_once() {
    let told = refusals(
        "-vnc :0 disk.img -frobnicate -bios x -drive file=a -device e1000 -accel tcg -daemonise",
    );
    assert_eq!(told.len(), 8, "{told:#?}");
    assert!(
        told.iter()
            .any(|it| it.contains("-daemonise: it is not known (is `-daemonize` meant?)"))
    );
    let no_kernel = translation("-m 1").refused;
    assert!(no_kernel[0].why.contains("-kernel FILE"));
}

#[test]
fn each_of_these_is_refused_by_its_name() {
    for line in [
        "-serial tcp:1.2.3.4:5",
        "-monitor stdio",
        "-qmp tcp:127.0.0.1:1,server",
        "-mon chardev=none",
        "-serial stdio -serial file:/x",
        "-netdev user,id=a -device virtio-net-pci,netdev=b",
        "-netdev user,id=a -device virtio-net-pci,netdev=a -nic user,model=virtio",
        "-netdev user,id=a,net=192.168.0.0/24",
        "-netdev user,id=a,smb=/x",
        "-netdev tap,id=a,ifname=t,script=/etc/up",
        "-nic user",
        "-fsdev local,id=a,path=/x,security_model=mapped-file",
        "-fsdev proxy,id=a,path=/x,security_model=none",
        "-device virtio-9p-pci,fsdev=a,mount_tag=t",
        "-device virtio-blk-pci,drive=a",
        "-drive file=a,format=raw,if=none,id=a -device virtio-blk-pci,drive=a -device virtio-blk-pci,drive=a",
        "-blockdev driver=raw,node-name=a,file=b -blockdev driver=raw,node-name=b,file=a -device virtio-blk-pci,drive=a",
        "-drive file=a,format=vmdk,if=virtio",
        "-drive file=a,if=virtio,snapshot=on",
        "-device virtio-net-pci,frob=1,netdev=a -netdev user,id=a",
        "-chardev socket,id=a,path=/x,server=on -device vhost-user-fs-pci,chardev=a,tag=t",
        "-machine virt",
        "-machine q35,accel=tcg",
        "-machine q35,frob=1",
        "-m lots",
        "-smp 0",
        "-display gtk",
        "-smbios type=11,value=x",
        "-fw_cfg name=opt/x,string=y",
        "-object secret,id=a",
        "-action shutdown=pause",
        "-name guest=a,process=b/c",
        "-kernel",
    ] {
        assert!(!refusals(line).is_empty(), "{line}");
    }
}

#[test]
fn an_image_that_leads_elsewhere_is_not_guessed() {
    let line = words("-kernel k -drive file=a,if=virtio");
    let refused = translate(&line, &|_| Image::Qcow2WithOthers).refused;
    assert!(refused[0].why.contains("format=qcow2"), "{refused:?}");
}

/// The flags are what `run` understands.
#[test]
fn run_understands_the_flags() {
    use clap::FromArgMatches;

    let flags = flags(PCP);
    let words = ["run".to_owned()].into_iter().chain(flags);
    let matches = crate::args::run_alone()
        .try_get_matches_from(words)
        .unwrap();
    let args = crate::args::RunArgs::from_arg_matches(&matches).unwrap();
    assert_eq!(args.cpus, Some(4));
    assert_eq!(args.forward.len(), 4);
}
