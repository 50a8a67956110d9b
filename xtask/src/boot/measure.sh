#!/xtask/busybox sh
# Process 1 of a Pi that only counts: unpacks layers into memory, several times each, and says how long that took by the clock
# of the machine, which advances by one nanosecond an instruction. A constant: the layers are the files of /layers.
/xtask/busybox --install -s /xtask/bin
export PATH=/xtask/bin
say() { echo "@xtask $*"; }
# Nothing that comes after this is a figure.
fail() {
    say "failed $*"
    while :; do sleep 3600; done
}
set -o pipefail
mount -t proc proc /proc || fail "cannot mount /proc"
dmesg -n 1
# Hundredths of a second since the machine was switched on.
now() {
    read -r uptime _ </proc/uptime
    echo "${uptime%.*}${uptime#*.}"
}
# Until the kernel has done what it does after booting.
sleep 5
for layer in /layers/*; do
    begin=$(now)
    runs=0
    while [ $runs -lt 5 ]; do
        mount -t tmpfs unpacked /unpacked || fail "cannot mount a tmpfs"
        gunzip -c "$layer" 2>/dev/null | tar -x -C /unpacked 2>/dev/null || fail "cannot unpack ${layer##*/}"
        umount /unpacked
        runs=$((runs + 1))
    done
    say "unpacked ${layer##*/} $runs $(($(now) - begin))"
done
say "measured"
while :; do sleep 3600; done
