# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pcp_vmm_global_optspecs
    string join \n V/version json q/quiet v/verbose color= no-progress log-file= runtime-dir= state-dir= log-dir= tmp-dir= log-format= h/help
end

function __fish_pcp_vmm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pcp_vmm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pcp_vmm_using_subcommand
    set -l cmd (__fish_pcp_vmm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -s V -l version -d 'Print the version; with --json, what it was built from too'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "run" -d 'Start a VM and stay with it until it ends'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "exec" -d 'Run a command in a VM of its own, and end as it ends'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "sandbox" -d 'Run a derivation\'s builder in a VM'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "qemu-compat" -d 'Run a VM from QEMU\'s command line'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "ls" -d 'List the VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "status" -d 'Tell how VMs are'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "inspect" -d 'Show what a VM was started with'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "wait" -d 'Wait until VMs are as wanted'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "console" -d 'Use a console of a VM on this terminal'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "logs" -d 'Show what a VM\'s console has printed'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "ssh" -d 'Log in to a VM\'s guest, or run a command there'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "ssh-config" -d 'Let ssh, scp, rsync and editors reach guests by their VM\'s name'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "inventory" -d 'List the VMs that run as an inventory for Ansible'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "events" -d 'Tell what happened to VMs: phases of the boot, changes, their end'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "pause" -d 'Stop the vCPUs of VMs where they are'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "resume" -d 'Let paused VMs go on'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "forward" -d 'Add, remove and list the host ports that lead into a VM'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "balloon" -d 'Show the size of a VM\'s balloon, or ask its guest for another one'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "link" -d 'Show whether a VM\'s network cards have a link, or take it down and up'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "stop" -d 'Ask VMs to shut down, and end those that do not'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "kill" -d 'End VMs at once, without asking their guests'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "destroy" -d 'End VMs and remove what is kept of them'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "lifecycle" -d 'Test guests from their build to their end, phase by phase'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "test" -d 'Test guests in depth'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "network" -d 'Set up PCP\'s TAP network on this host, and take it away again'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "service" -d 'Define VMs as services of this machine\'s service manager'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "deploy" -d 'Bring a declared set of VMs to the wanted state'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "ids" -d 'List, reserve, export and free the ports and other identifiers of VMs'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "image" -d 'Build, list and remove guest images'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "kernel" -d 'Fetch, list, check and remove Debian\'s kernels'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "agent" -d 'Put the agent that `exec --in` calls into a guest\'s root file system'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "matrix" -d 'Run a command over kernels, roots, machines and parameters, each in a VM of its own'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "vmtest" -d 'Run the targets of a vmtest.toml, each in a VM of its own'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "doctor" -d 'Check whether this machine can run VMs; say what is missing and how to get it'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "completions" -d 'Write the completion script of a shell to standard output'
complete -c pcp-vmm -n "__fish_pcp_vmm_needs_command" -f -a "docs" -d 'Write the manual pages, the completion scripts and the reference into a folder'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l variant -d 'The guest: base, eval, grafana or bpf [default: base]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l bundle -d 'A folder with a bundle to start instead of the variant\'s own' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l kernel -d 'The kernel: a bzImage or an ELF vmlinux' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l initrd -d 'The initial RAM disk' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l cmdline -d 'The whole kernel command line, in place of the default' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l append -d 'More words for the end of the kernel command line' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l name -d 'The VM\'s name [default: the guest\'s host name]. With another name than its bundle\'s, the VM has ports and console ports of its own (`pcp-vmm ids`), and its process is called after it' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s m -l memory -d 'Guest memory: a number with K, M, G or T; M by default [default: 1G]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l uuid -d 'The machine\'s UUID; the guest finds it in `/sys/class/dmi/id/product_uuid`' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l credential -d 'A credential for the guest\'s systemd, up to 1 MiB; what others may not see belongs in a file' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s c -l cpus -d 'The number of vCPUs, 1 to 64 [default: 4]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l transport -d 'How the guest reaches its devices: by PCI, or by virtio-mmio registers that ACPI or (for kernels that look there) the kernel command line tells of' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l net -d 'The network: none, or user (in the VMM, no privilege needed). `restrict=on`: the guest reaches nothing, forwards still reach it; `host=off`: 10.0.2.2 does not lead to the host\'s loopback address; `ipv6=off`: IPv4 alone' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s f -l forward -d 'Lead a host port into the guest; also replaces a port of the bundle' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l port-offset -d 'Add a number to every host port of the bundle, and have no ports assigned' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l mac -d 'The network card\'s address' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l mtu -d 'The network card\'s largest packet in bytes' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s s -l share -d 'Share a folder over virtio-fs (`mount -t virtiofs TAG /mnt`) or, with `proto=9p`, over 9p (`mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt`). Further options: `cache=never|auto|always`, `security=none|passthrough|mapped-xattr` (9p), `uidmap=` and `gidmap=GUEST:HOST:COUNT`, and `only=FILE`, a list of the paths that alone are visible at the top. A comma in the path is doubled. With `proto=vhost-user` another process serves it over virtio-fs, such as virtiofsd: the path is its socket' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l disk -d 'Add a disk: an image, raw unless `format=qcow2` says otherwise (it is never guessed), or a block device. Further options: `queues=N`, `io=uring|threads`, `cache=writeback|writethrough|unsafe`. A comma in the path is doubled' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l console -d 'Where ttyS0 (serial, the default) or hvc0 (virtio) leads: stdio, file=PATH, unix=PATH, connect=PATH (a Unix socket where somebody else listens), tcp=[ADDR:]PORT, none, or fd=N: a listening socket that the caller opened, as systemd does (the first is 3)' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l balloon -d 'Have a memory balloon: what the guest does not use goes back to the host; with SIZE, it is asked to give as much as that at first' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l vsock -d 'Have a socket device (vsock), with a context identifier of its own unless `cid=` says which. The Unix socket PATH leads into the guest: write `CONNECT PORT` and an end of line first. The guest reaches the Unix socket PATH_P as port P of context 2' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l rng -d 'Have an entropy device [default: with a bundle]' -r -f -a "true\t''
false\t''"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l control -d 'Have the control socket at PATH instead of in the VM\'s folder in the runtime directory. `docs/control.md` has its protocol' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l monitor -d 'Serve QEMU\'s monitor at the Unix socket PATH for programs made for QEMU: its machine protocol (qmp) or its prompt (hmp). With `connect`, somebody listens there already. `docs/qemu-compat.md` lists what is understood' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l sandbox -d 'What the process may do on the host: `on` ends it at a system call that its work does not need, `audit` only has the kernel log it, `off` allows all [default: on]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l process-name -d 'Call the process `microvm@NAME`, for scripts that look for it' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l boot-timeout -d 'Give up if the guest has not reached user space after this many seconds; 0: never [default: 900 with a bundle, else 0]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l end-with-parent -d 'End the VM, as by SIGTERM, when the process that started this one ends; with that one\'s number, even if it has ended already' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l pid-file -d 'Write the process\'s number to this file, with --daemon once the guest is ready; the file goes with the VM' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l ready-timeout -d 'With --daemon: how long the guest has to be ready; then the VM is ended' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s D -l daemon -d 'Let the VM go on by itself; return when its guest is ready, as its bundle says, or, without a bundle, when the machine runs. Its log is NAME.log in the log folder'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l detached -d 'The process of a VM that goes on by itself'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -l dry-run -d 'Show the machine and where each value comes from; start nothing'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l in -d 'Run the command in this VM, which runs already, in place of one of its own: its name, variant or process name' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s k -l kernel -d 'The kernel: `host`, a version that `pcp-vmm kernel` has in the cache (the newest of that name), or a file' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l modules -d 'The folder of the kernel\'s modules, with `modules.dep` in it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l module -d 'Load this module before the command runs; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l kernel-arg -d 'More words for the kernel command line' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s m -l memory -d 'Guest memory: a number with K, M, G or T; M by default' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s c -l cpus -d 'The number of vCPUs, 1 to 64' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l root -d 'The guest\'s root: a folder of this machine, a bundle, or the image of a file system (ext4, erofs, squashfs, xfs or btrfs, raw or in qcow2), which is not written to; `/` without. Changes go to RAM, or as `--overlay` says' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l overlay -d 'Where changes to the root go: to RAM, or to this folder, which keeps them for the next guest with the same root: they are in its `upper`, in overlayfs\'s form' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l rw -d 'Let changes in this folder reach the host; may be given several times' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l share -d 'Show the folder DIR of this machine as FOLDER, which is made if it is missing; changes reach DIR, but not with `:ro`. May be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l disk -d 'Attach a disk image, the first as /dev/vda: as `--disk` of `pcp-vmm run`; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l net -d 'The network: `user` (in the VMM, no privilege needed; the host is 10.0.2.2) or `none`' -r -f -a "user\t'In the VMM'
none\t'No card'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s u -l user -d 'The user and group to run as, by number; the caller\'s without, and 0 with `--in`' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s e -l env -d 'Set a variable of the environment, or, without a value, leave it out; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l cwd -d 'The folder that the command starts in; the caller\'s without, and `/` with `--root` or `--in`' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s t -l timeout -d 'End the VM after so many seconds, with status 124' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l boot-timeout -d 'End a VM whose command does not run after so many seconds, with status 125' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l console -d 'Keep what the kernel prints in this file' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l report -d 'Write the whole outcome to this file, as JSON' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l end-with-parent -d 'End at once with the process that started this, however that ends; with its number, even if it has ended already' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -l debug-shell-on-failure -d 'If the command fails, open a shell in its guest, on this terminal, before the VM ends'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s k -l kernel -d 'The kernel: `host`, a version that `pcp-vmm kernel` has in the cache, or a file' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l modules -d 'The folder of the kernel\'s modules, with `modules.dep` in it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l module -d 'Load this module before the builder runs; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l kernel-arg -d 'More words for the kernel command line' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s m -l memory -d 'Guest memory [default: memSize, in MiB, else 512M]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s c -l cpus -d 'The number of vCPUs, 1 to 64 [default: NIX_BUILD_CORES if enableParallelBuilding is 1, else 1]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l disk-image -d 'The disk image /dev/vda, raw or qcow2 [default: diskImage]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l disk -d 'Attach one more disk, as `--disk` of `pcp-vmm run`; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l store -d 'The store [default: NIX_STORE, else /nix/store]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l xchg -d 'The folder for exchange, which is made if it is missing; the guest has it as /tmp/xchg' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l environment -d 'Take the environment from this file, whose variables each end with NUL, and not this program\'s: /proc/$$/environ is what a shell was started with' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l shell -d 'What the guest has as /bin/sh, where its root has none' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s t -l timeout -d 'End the VM after so many seconds, with status 124' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l console -d 'Keep what the kernel prints in this file' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -l mount-disk -d 'Make /dev/vda the guest\'s root, which is else empty and in RAM [default: if mountDisk is set]'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand sandbox" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -l explain -d 'Show what becomes of each option, and the flags of `pcp-vmm run` that say the same; start nothing'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand qemu-compat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -l resolved -d 'Show each value with its origin instead'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l for -d 'What to wait for; may be given several times [default: ready]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l timeout -d 'Give up after so long [default: never]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l replay -d 'Show at most so much of what was printed before' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -s a -l all -d 'The one VM that runs: a terminal shows one console'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand console" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s n -l lines -d 'Only the last so many lines' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s f -l follow -d 'Go on with what it prints, until the VM ends'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s a -l all -d 'All VMs that run; each line begins with its VM\'s name'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -s u -l user -d 'The user to log in as [default: the bundle\'s, else root]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l timeout -d 'Give a guest that is still booting so long to answer; 0 asks it at once' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -s a -l all -d 'All VMs that run, for a command; each line begins with its VM\'s name'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l file -d 'The configuration [default: ~/.ssh/config]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s a -l all -d 'All VMs that run. With --write, blocks of others are removed; with --remove, all blocks'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s w -l write -d 'Put the blocks into the configuration'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s r -l remove -d 'Remove the blocks from the configuration'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ssh-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l host -d 'The variables of this VM alone' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -l list -d 'All hosts; as without it'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand inventory" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -s f -l follow -d 'Go on with what happens, until the VMs end'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -f -a "add" -d 'Lead host ports into guests'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -f -a "rm" -d 'Close host ports; connections that came through them stay'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and not __fish_seen_subcommand_from add rm ls" -f -a "ls" -d 'List the host ports that lead into VMs'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand forward; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand balloon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand link" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l power-button -d 'How long the guest has to heed the power button; 0: it is not pressed' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l ctrl-alt-del -d 'How long it then has to heed Ctrl-Alt-Del; 0: it is not pressed' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -s a -l all -d 'All VMs that run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -s f -l force -d 'Do not ask'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand destroy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -f -a "test" -d 'Test guests from their build to their end'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -f -a "phase" -d 'Do or check one phase alone'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -f -a "status" -d 'Tell of each variant whether its VM runs, and whether its consoles and SSH answer'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and not __fish_seen_subcommand_from test phase status force-kill" -f -a "force-kill" -d 'End the VMs of variants at once, without asking their guests'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l variant -d 'The test: base, eval, grafana or bpf, or one of them but bpf with -tap' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l only -d 'Of all tests, only these' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l skip -d 'Of all tests, not these' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l bundle -d 'Test the guest of this bundle' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l timeout -d 'Give a phase so long instead of its documented time; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l timeout-scale -d 'Give every phase so many times its documented time, as on a slow machine' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l runner -d 'Start the VM with this program in place of `pcp-vmm run`, as with PCP\'s own runner on QEMU: it gets no arguments, has the ports that the bundle promises, stays in the foreground, and ends with its VM and on SIGTERM' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l junit -d 'Write the results as JUnit XML too' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -s a -l all -d 'All tests'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l variant -d 'The guest: base, eval, grafana or bpf, or one of them but bpf with -tap' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l bundle -d 'The guest of this bundle' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l timeout -d 'Give a phase so long instead of its documented time; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l timeout-scale -d 'Give every phase so many times its documented time, as on a slow machine' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from phase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l variant -d 'Only these' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l variant -d 'The variant' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -s a -l all -d 'All variants'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand lifecycle; and __fish_seen_subcommand_from force-kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l variant -d 'The test: base, eval, grafana or bpf, or one of them but bpf with -tap' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l bundle -d 'Test the guest of this bundle' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l results -d 'The folder for the results' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l timeout -d 'Give a phase so long instead of its documented time; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l timeout-scale -d 'Give every phase so many times its documented time, as on a slow machine' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -s a -l all -d 'All tests'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -f -a "check" -d 'Tell whether this host can have the network, and what is in the way'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -f -a "setup" -d 'Set the network up; needs root'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -f -a "teardown" -d 'Take back what `setup` changed; needs root'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and not __fish_seen_subcommand_from check setup teardown status" -f -a "status" -d 'Tell what of the network is there, and what of it `setup` made'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l user -d 'Who is to use the TAP, by name or number [default: who calls, through sudo too]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l user -d 'Who is to use the TAP, by name or number [default: who calls, through sudo too]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l dry-run -d 'Print the commands that would change the host; change nothing'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l force -d 'Take the TAP away even from a VM that uses it'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l dry-run -d 'Print the commands that would change the host; change nothing'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from teardown" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand network; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and not __fish_seen_subcommand_from generate" -f -a "generate" -d 'Write the definition of a VM as a service; on standard output, or into a folder'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l manager -d 'The service manager' -r -f -a "systemd\t'systemd: a unit'
supervisord\t'supervisord: a program section'
sysvinit\t'System V init: a script with an LSB header'
s6-rc\t's6-rc: a folder of a source, with its logger'
bsdrc\t'BSD\'s rc.d: a script'
launchd\t'launchd: a property list'
docker-compose\t'Docker Compose: a file with one service'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l name -d 'The VM\'s name; the service is called pcp-vmm-NAME' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l after -d 'Start it after the service of this VM; may be given several times' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l user -d 'Who runs it [default: the manager\'s]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l set -d 'A setting of the manager\'s in place of the usual one, or beside it; an empty value takes one away. For systemd, SECTION.KEY; for scripts, a variable of the environment' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l socket -d 'A console that systemd listens for in the VM\'s place, by tcp=[ADDR:]PORT or unix=PATH: who connects first starts the VM, and is served. May be given once for each console' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l program -d 'The program [default: this one]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l image -d 'The image of the container (docker-compose), whose entry point is the program' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -s o -l output -d 'Write the files into this folder' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand service; and __fish_seen_subcommand_from generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l undeploy -d 'Stop all VMs that were started for the file'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -l dry-run -d 'Tell what would be started and stopped; do nothing'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -f -a "ls" -d 'List who has what: the documented VMs, and those that were given something'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -f -a "assign" -d 'Give VMs identifiers before they are started; those that they have stay theirs'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -f -a "export" -d 'Write all assignments for other programs: `ids.POOL.NAME`, `lastAssignments.POOL`, the pools, and what numbers stand for'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and not __fish_seen_subcommand_from ls assign export free" -f -a "free" -d 'Give back what VMs have that do not run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l pool -d 'From this pool; may be given several times [default: ports and consoles]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from assign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l format -d 'The language' -r -f -a "json\t'An object'
nix\t'An attribute set'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -s a -l all -d 'All VMs that do not run'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand ids; and __fish_seen_subcommand_from free" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -f -a "build" -d 'Build a guest image from Debian packages'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -f -a "ls" -d 'List the images in the cache'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and not __fish_seen_subcommand_from build ls rm" -f -a "rm" -d 'Remove images from the cache'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l variant -d 'The guest: base, eval, grafana or bpf' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l suite -d 'The Debian suite' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -s o -l output -d 'The folder to write; one in the cache by default' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l kernel -d 'Which of Debian\'s kernels' -r -f -a "cloud\t'Small, with the drivers of virtual hardware'
standard\t'With the drivers of all hardware'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l root-disk -d 'Put the root file system into a disk image [default: a shared folder; erofs if not root]' -r -f -a "erofs\t'Compact and read-only'
ext4\t'Writable'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l mirror -d 'The package mirror [default: that of the machine\'s own apt]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l package -d 'A package file to install besides, such as Grafana\'s; may be given several times' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l install-missing -d 'Install missing tools of this machine with apt (as root)'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l force -d 'Build even if the image is there and up to date'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l all -d 'Remove all images'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l downloads -d 'Also remove what builds share, such as downloaded packages'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -s y -l force -d 'Do not ask'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand image; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "ls" -d 'List the kernels in the cache, the newest first'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "add" -d 'Fetch kernels with their modules into the cache'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "show" -d 'Show where a kernel of the cache is and what it was unpacked from'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "check" -d 'Tell whether a kernel was built with what a guest needs'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "unpack" -d 'Write the ELF file that a bzImage holds: a VM starts faster from it where no cache keeps it'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and not __fish_seen_subcommand_from ls add show check unpack rm" -f -a "rm" -d 'Remove kernels from the cache'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l suite -d 'The Debian suite [default: trixie, bookworm, trixie-backports and sid, in this order]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l mirror -d 'The package mirror [default: that of the machine\'s own apt]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l keyring -d 'The keys that sign the mirror\'s suites [default: those of Debian\'s archive]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l available -d 'List what can be added instead'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l flavour -d 'Which of Debian\'s kernels, unless VERSION is a release' -r -f -a "cloud\t'Small, with the drivers of virtual hardware'
standard\t'With the drivers of all hardware'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l suite -d 'The Debian suite [default: trixie, bookworm, trixie-backports and sid, in this order]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l mirror -d 'The package mirror [default: that of the machine\'s own apt]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l keyring -d 'The keys that sign the mirror\'s suites [default: those of Debian\'s archive]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l for -d 'What for; several with commas between' -r -f -a "run\t'Be the kernel of a VM'
exec\t'Run commands by `pcp-vmm exec`'
bpf\t'Run BPF programs'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l config -d 'The kernel\'s configuration [default: the one beside it, in /boot, with its modules, or in itself]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l modules -d 'The folder of its modules, with `modules.dep` in it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -s o -l output -d 'The file to write' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l all -d 'Remove all kernels'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand kernel; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l program -d 'Write the program to this file: static, for x86-64' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l results -d 'The folder for logs, results.json and junit.xml; made if it is missing' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -s m -l memory -d 'The memory that guests may have together [default: the file\'s, else three quarters of what is free]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -s c -l cpus -d 'The vCPUs that guests may have together [default: the file\'s, else this machine\'s processors]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -l list -d 'List the cells, and run none'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand matrix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s c -l config -d 'The file with the targets' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s f -l filter -d 'Run only the targets whose names this regular expression matches' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s k -l kernel -d 'Run COMMAND with this kernel' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l kargs -d 'More words for the kernel command line' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s r -l rootfs -d 'The guest\'s root [default: /]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s a -l arch -d 'The guest\'s architecture [default: x86_64, the only one]' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l qemu-command -d 'The QEMU that vmtest would call; there is a warning that it is not' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s t -l timeout -d 'End the VM of a target after so many seconds' -r
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l results -d 'The folder for logs, results.json and junit.xml; made if it is missing. Without it there are none' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand vmtest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l log-file -d 'Append the log to this file instead of showing it' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l runtime-dir -d 'The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and $XDG_RUNTIME_DIR/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l state-dir -d 'The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root and $XDG_STATE_HOME/pcp-vmm for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l log-dir -d 'The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in the state folder for others]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l tmp-dir -d 'The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache]' -r -F
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l log-format -d 'How log lines are written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l json -d 'Write results and errors as JSON'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -s q -l quiet -d 'Say nothing but results, warnings and errors'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -s v -l verbose -d 'Log more: -v what happens, -vv details, -vvv everything'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -l no-progress -d 'Show no progress bars'
complete -c pcp-vmm -n "__fish_pcp_vmm_using_subcommand docs" -s h -l help -d 'Print help (see more with \'--help\')'
