#!/bin/busybox sh
# The only process of the machine's own: makes the surroundings that the tests need, runs them, switches off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mount -t tmpfs tmpfs /run
ln -s /run /var/run
ip link set lo up
for module in /modules/*; do
    case $module in
        *.xz) unxz "$module"; module=${module%.xz} ;;
    esac
    insmod "$module"
done

# A serial port that is for the results alone: the kernel's own messages go to another. The kernel's command line names
# it.
stty -F "$RESULTS" raw
exec </dev/null >"$RESULTS" 2>&1
export TCPCLOSE_BIN=/tcpclose
# These kernels allow function hooks: without them the tests of TIME_WAIT would prove less than they should.
export TCPCLOSE_TEST_HOOKS=1
# One after another, as on the host: what a test beside it forks holds copies of its sockets until it executes.
export RUST_TEST_THREADS=1
ulimit -n 20000

# run NAME PROGRAM ARGUMENT...: a test program, and once more those of its tests that failed, if they are at most three.
run() {
    name=$1 program=$2
    shift 2
    run_once "$@"
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' /tmp/output | sort -u)
    set -- $failed
    [ $# -gt 0 ] && [ $# -le 3 ] && run_once --include-ignored --exact "$@"
}
run_once() {
    echo "@@ begin $name"
    rm -f /tmp/pipe
    mkfifo /tmp/pipe
    tee /tmp/output </tmp/pipe &
    tee=$!
    "$program" "$@" >/tmp/pipe 2>&1
    code=$?
    # A process that a test has left behind would keep the pipe open.
    (sleep 10; kill $tee) 2>/dev/null &
    guard=$!
    wait $tee
    kill $guard 2>/dev/null
    echo "@@ end $name $code"
}

echo "@@ kernel $(uname -r)"
echo "@@ begin doctor"
/tcpclose doctor
echo "@@ end doctor $?"
for test in /tests/*; do
    name=${test##*/}
    set --
    while IFS= read -r argument; do
        set -- "$@" "$argument"
    done <"/arguments/$name"
    run "$name" "$test" "$@"
done
# At last the tests that change the whole kernel, and that no other machine runs.
mount -t securityfs securityfs /sys/kernel/security
run security-modules /tests/integration --ignored confined::
echo "@@ finished"
poweroff -f
