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
    echo "@@ begin $name"
    "$test" "$@"
    echo "@@ end $name $?"
done
# At last the tests that change the whole kernel, and that no other machine runs.
mount -t securityfs securityfs /sys/kernel/security
echo "@@ begin security-modules"
/tests/integration --ignored confined::
echo "@@ end security-modules $?"
echo "@@ finished"
poweroff -f
