#!/usr/bin/env bash
# What PCP's own scripts do with a VM and expect of it: they find it by `pgrep`, try its ports with `nc`, log in with `sshpass`,
# talk to its console with `expect`, and end it by signals.
#   scripts.sh STEP HOST SSH-PORT SERIAL-PORT VIRTIO-PORT UNIT...
set -u
step=$1 host=$2 ssh_port=$3 serial=$4 virtio=$5
shift 5

fail() { echo "FAIL: $*"; exit 1; }
vm_pid() { pgrep -f "process=$host" | head -1; }
guest() {
    sshpass -p pcp ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=30 \
        -o PubkeyAuthentication=no -p "$ssh_port" root@localhost "$@"
}

case $step in
check-process)
    [ "$(pgrep -f "process=$host" | wc -l)" = 1 ] || fail "not one process: $(pgrep -af "process=$host")"
    [ "$(pgrep -f "microvm@$host" | wc -l)" = 1 ] || fail "not one process is called microvm@$host"
    [ "$(pgrep -f "microvm@$host")" = "$(vm_pid)" ] || fail "two names, two processes"
    # The consoles are there from the start, and connections that only come and go do not matter.
    for _ in 1 2 3 4 5; do
        nc -z 127.0.0.1 "$serial" || fail "no serial console at $serial"
        nc -z 127.0.0.1 "$virtio" || fail "no virtio console at $virtio"
    done
    ;;
verify)
    [ "$(guest systemctl is-active "$@" | sort -u)" = active ] || fail "not all active: $*"
    guest 'pminfo -f kernel.all.load 2>/dev/null' | grep -q value || fail "no values"
    ;;
console)
    # Whoever connects is shown something before he types.
    expect <<EXPECT || fail "the console does not do what expect scripts expect"
set timeout 60
log_user 0
spawn socat -,rawer tcp:127.0.0.1:$virtio
expect -re "." {} timeout { exit 1 } eof { exit 2 }
send "\r"
sleep 0.5
expect "login:" {} timeout { exit 3 }
expect -timeout 2 -re ".+" { exp_continue -continue_timer } timeout { }
send "root\r"
expect "Password:" {} timeout { exit 4 }
send "pcp\r"
expect -re "root@pcp-.*:.*#" {} "Login incorrect" { exit 5 } timeout { exit 6 }
send "systemctl is-active pmcd\r"
expect "active\r" {} timeout { exit 7 }
send "exit\r"
EXPECT
    ;;
kill)
    pid=$(vm_pid)
    kill -TERM "$pid"
    sleep 1
    [ -z "$(vm_pid)" ] || fail "it is still there a second after SIGTERM"
    nc -z 127.0.0.1 "$serial" && fail "the port of its serial console is still open"
    ;;
*) fail "no step $step" ;;
esac
echo "PASS: $step"
