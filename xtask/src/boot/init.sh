#!/xtask/busybox sh
# Process 1 of the emulated Pi: mounts, loads modules, and starts the image's program as an engine would. What it prints goes
# to the host over the serial line: lines that begin with `@xtask ` are for `cargo xtask boot`, lines that begin with `| ` are
# the program's. The host's commands, at the end of this file, come over the network.
#
# A constant: what differs from image to image comes in the files of /xtask.
/xtask/busybox --install -s /xtask/bin
export PATH=/xtask/bin
umask 022

say() { echo "@xtask $*"; }
# The last words of a machine that cannot do its work.
fail() {
    dmesg | tail -n 10 | sed 's/^/# /'
    say "failed $*"
    while :; do sleep 3600; done
}

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev || fail "cannot mount /proc, /sys, /dev"
# From here on the kernel's messages stay in its buffer, or they would come in the middle of a line.
dmesg -n 1
read -r uptime _ </proc/uptime
say "up $uptime"
say "kernel $(uname -r)"
say "cpu $(sed -n 's/^CPU part[[:blank:]]*: //p' /proc/cpuinfo | head -n 1)"
say "memory $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"

while read -r module; do
    insmod "/xtask/modules/$module" || fail "cannot load the module $module"
done </xtask/modules.list

# Waits for a path, ten times a second.
await() {
    tries=0
    until [ -e "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "$1 did not appear"
        sleep 0.1
    done
}

ip link set lo up
hostname raspberrypi

await /dev/mmcblk0
mount -t ext4 -o noatime /dev/mmcblk0 /card || fail "cannot mount the SD card"

# A volume is a directory of the card. A new one gets what the image has there, with owner and mode, as an engine does it;
# under another name first, so that a power cut leaves none that is half full.
while read -r name volume; do
    if [ ! -d "/card/$name" ]; then
        rm -rf "/card/.$name"
        cp -a "/image$volume" "/card/.$name" && sync && mv "/card/.$name" "/card/$name" && sync ||
            fail "cannot fill the volume $volume"
    fi
    mount --bind "/card/$name" "/image$volume" || fail "cannot mount the volume $volume"
done </xtask/volumes

# What every container finds: devices, /sys that cannot be written, and its own processes in /proc.
mount -t tmpfs -o mode=755,nosuid,size=64k dev /image/dev || fail "cannot mount /dev in the image"
while read -r name major minor; do
    mknod -m 666 "/image/dev/$name" c "$major" "$minor"
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
mkdir /image/dev/pts /image/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /image/dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec,size=64m shm /image/dev/shm
ln -s pts/ptmx /image/dev/ptmx
ln -s /proc/self/fd /image/dev/fd
ln -s /proc/self/fd/0 /image/dev/stdin
ln -s /proc/self/fd/1 /image/dev/stdout
ln -s /proc/self/fd/2 /image/dev/stderr
mount -t sysfs -o ro,nosuid,nodev,noexec sys /image/sys

# unshare mounts the new /proc here, and wants a mount to be there already.
mount --bind /image/proc /image/proc

await /sys/class/net/usb0
ip addr add 10.0.2.15/24 dev usb0
ip link set usb0 up
ip route add default via 10.0.2.2

mkfifo /xtask/log
# Not sed: it holds each line back until it knows whether another one follows.
while IFS= read -r line || [ -n "$line" ]; do echo "| $line"; done </xtask/log &
log=$!
unshare -p -f --mount-proc=/image/proc /xtask/launcher </dev/null >/xtask/log 2>&1 &
unshare=$!
read -r uptime _ </proc/uptime
say "started $uptime"

# The host's commands come over the network, each in a connection of its own: nothing can be typed at the console.
echo $unshare >/xtask/unshare
nc -ll -p 1 -e /xtask/control </dev/null &

wait $unshare
code=$?
wait $log
dmesg | tail -n 10 | sed 's/^/# /'
# Nothing else has files open there; the card is clean before the host hears of it.
umount $(sed -n 's/^[^ ]* \(\/image[^ ]*\) ext4 .*/\1/p' /proc/mounts) 2>/dev/null
umount /card || sync
say "ended $code"
while :; do sleep 3600; done
