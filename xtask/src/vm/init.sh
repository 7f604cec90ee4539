#!/bin/busybox sh
# Process 1 of the virtual machine: puts up what the tests stand on, runs each, says how each ended, and turns the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp HOME=/root
# Each instruction is emulated.
export GUARD_TEST_PATIENCE=4
busybox mkdir -p /proc /sys /dev /tmp /run /root
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t bpf bpf /sys/fs/bpf
busybox mount -t tmpfs tmpfs /tmp
busybox mount -t tmpfs tmpfs /run
for module in $(busybox cat /modules/order); do
    busybox insmod "/modules/$module.ko"
done
ip link set lo up
# A test: its name, its folder, and the command.
while read -r name folder command; do
    echo "@@ begin $name"
    export GUARD_TEST_SKIPS=/tmp/skips CARGO_MANIFEST_DIR="$folder"
    busybox rm -f $GUARD_TEST_SKIPS
    (cd "$folder" && exec $command </dev/null 2>&1)
    ended=$?
    echo "@@ end $name $ended"
    [ ! -e $GUARD_TEST_SKIPS ] || busybox sed 's/^/@@ skip /' $GUARD_TEST_SKIPS
done </tests
echo "@@ done"
busybox poweroff -f
