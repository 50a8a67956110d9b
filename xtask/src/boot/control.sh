#!/xtask/busybox sh
# One command of the host, on standard input; the answer goes to standard output.
export PATH=/xtask/bin
read -r unshare </xtask/unshare
read -r signal </xtask/stop-signal
# The program is the one child of unshare.
for stat in /proc/[0-9]*/stat; do
    # Process id, name in parentheses, state, parent. A process may end while it is looked at.
    read -r line <"$stat" || continue
    rest=${line##*) }
    rest=${rest#* }
    [ "${rest%% *}" != "$unshare" ] || server=${line%% *}
done 2>/dev/null
read -r word
case $word in
    # Resident memory and the most it ever was, in KiB, the smaller first.
    status) sed -n 's/^Vm\(RSS\|HWM\):[[:blank:]]*\([0-9]*\) kB/\2/p' "/proc/$server/status" | sort -n ;;
    # Processor time so far, in hundredths of a second: user and system (proc_pid_stat(5), fields 14 and 15).
    times)
        read -r line <"/proc/$server/stat"
        set -- ${line##*) }
        echo "${12} ${13}"
        ;;
    stop) kill "-$signal" "$server" && echo done ;;
    kill) kill -KILL "$server" && echo done ;;
esac
