# The guarded host is a booted Debian with guard's unit; attackers are on the other end of its wire. Run as the first
# process of its own process, mount and network namespaces, which take everything with them when it ends.
# usage: booted.sh ROOT KEY
set -eu
root=$1 key=$2
host=203.0.113.1 admin=203.0.113.200 attacker=203.0.113.10 neighbour=203.0.113.11
fail() { echo "FAILED: $*"; inside journalctl -u guard --no-pager -o cat -n 30 || true; exit 1; }
passed() { echo "ok: $*"; }
# Within so many seconds.
soon() { n=$1; shift; while ! "$@"; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }

ip link set lo up
SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes systemd-nspawn --quiet -D "$root" -b --network-veth --machine=guard-booted \
    --register=no --keep-unit --capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON,CAP_SYS_ADMIN \
    --system-call-filter="bpf perf_event_open" </dev/null >"$root/boot.log" 2>&1 &
nspawn=$!
inside() { nsenter -t "$(pgrep -P $nspawn | head -n 1)" -m -u -i -n -p -r -w "$@"; }
answers() { inside guardctl --json status >/dev/null 2>&1; }
says() { inside guardctl --json "$1" ${2:-} | tr -d ' \n' | grep -qF -- "$3"; }
pings() { ping -n -q -c1 -W1 -I "$1" $host >/dev/null; }
guess() {
    sshpass -p wrong ssh -F none -p 2222 -b "$1" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ConnectTimeout=3 -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 root@$host true </dev/null 2>&1 |
        grep -q "Permission denied"
}

soon 60 answers || { tail -n 20 "$root/boot.log"; fail "guard.service has not started"; }
ip link set ve-guard-booted up
for address in $attacker $neighbour $admin; do ip address add $address/24 dev ve-guard-booted; done
soon 10 pings $admin || fail "the wire is not up"

says status "" '"backend":"xdp"' || fail "not enforced with XDP: $(inside guardctl status)"
says status "" '"mode":"native"' || fail "not native: $(inside guardctl status)"
says status "" '"problems":[]' || fail "problems: $(inside guardctl status)"
passed "the unit has started guard, natively on XDP, without a problem"

ssh -F none -p 2222 -b $admin -i "$key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o IdentitiesOnly=yes -o LogLevel=ERROR root@$host "sleep 300" </dev/null &
soon 10 says check $admin "authenticatedbykey" || fail "the administrator's session is not protected"
guesses=0
while [ $guesses -lt 10 ] && guess $attacker; do guesses=$((guesses + 1)); done
[ $guesses -ge 4 ] && [ $guesses -le 5 ] || fail "cut off after $guesses guesses"
! pings $attacker || fail "a banned packet has passed"
pings $neighbour || fail "the neighbour is cut off"
for _ in 1 2 3 4 5 6 7; do guess $admin || fail "the administrator is cut off"; done
passed "the attacker is dropped after $guesses guesses, his neighbour and the administrator are not"

for what in restart stop start; do
    inside systemctl $what guard
    ! pings $attacker || fail "a banned packet has passed after: systemctl $what guard"
done
inside sh -c 'kill -9 $(systemctl show -p MainPID --value guard)'
! pings $attacker || fail "a banned packet has passed after a crash"
soon 20 answers || fail "not started again after a crash"
! pings $attacker || fail "a banned packet has passed after the start that followed a crash"
passed "restart, stop, start and crash open no gap"

inside rm -r "$(inside sh -c 'echo /sys/fs/bpf/guard/v*')"
soon 7 inside sh -c 'ls /sys/fs/bpf/guard/v*/links/* >/dev/null 2>&1' || fail "pins that were removed are not back"
inside guardctl unlock >/dev/null
soon 3 pings $attacker || fail "unlocked, and still dropped"
inside systemctl reload guard
inside guardctl ban $attacker >/dev/null
! pings $attacker || fail "a reload after unlock does not enforce"
says status "" '"problems":[]' || fail "problems: $(inside guardctl status)"
passed "pins come back; unlock and reload work in the sandbox"
