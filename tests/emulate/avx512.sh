#!/bin/bash
# Runs a static x86-64 Linux program on an emulated CPU that has AVX-512 VNNI, on any machine: boots a small Linux in
# the Bochs emulator. When the program has ended, prints its stdout and stderr and exits with its exit code (128 + the
# signal if a signal killed it, so 132 for an illegal instruction; 125 if the emulation itself failed).
#
#   tests/emulate/avx512.sh PROGRAM [ARGUMENT...]
#
# Needs, on Debian 12:
#   apt-get install --no-install-recommends bochs bochs-term bochsbios vgabios busybox-static cpio isolinux \
#     syslinux-common xorriso
# The first run fetches Debian's cloud kernel (apt-get download; unpacked, not installed) into the cache.
#
# Environment:
#   EMU_MODEL        CPU model: tigerlake (default), corei7_skylake_x (AVX-512 without VNNI), broadwell_ult (AVX2), ...;
#                    `bochs -help cpu` lists them
#   EMU_ENV          names of environment variables to pass to the program, besides MICRORAPTOR_ISA
#   EMU_FILES        files or folders for the program's working directory, separated by spaces; SRC:DEST puts SRC at the
#                    path DEST
#   EMU_MEMORY       memory of the guest, in MiB (256)
#   EMU_TIMEOUT      time limit, in seconds (600)
#   EMU_CACHE        folder for the downloaded kernel (${XDG_CACHE_HOME:-~/.cache}/emulate-avx512)
#   EMU_KEEP         a folder for stdout, stderr, kernel.log and bochs.log; stdout grows there while the program runs
#   EMU_BOCHS        path of a Bochs other than Debian's; needs EMU_DISPLAY=nogui if it was built --with-nogui
set -euo pipefail
die() { echo "avx512.sh: $*" >&2; exit 125; }
[ $# -ge 1 ] || die "usage: avx512.sh PROGRAM [ARGUMENT...]"
bin=$1; shift
[ -f "$bin" ] || die "no file $bin"
model=${EMU_MODEL:-tigerlake} mem=${EMU_MEMORY:-256} limit=${EMU_TIMEOUT:-600}
cache=${EMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emulate-avx512}
isolinux=/usr/lib/ISOLINUX/isolinux.bin ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
bochs=${EMU_BOCHS:-/usr/bin/bochs-bin}
export BXSHARE=${BXSHARE:-/usr/share/bochs}
for f in "$bochs" /usr/bin/xorriso /bin/busybox $isolinux $ldlinux \
         /usr/share/vgabios/vgabios.bin /usr/share/bochs/BIOS-bochs-latest; do
  [ -e "$f" ] || die "$f is missing (the head of $0 names the packages)"
done

# The kernel: Debian's cloud kernel, unpacked without installing it.
if [ ! -f "$cache/vmlinuz" ]; then
  mkdir -p "$cache"; t=$(mktemp -d "$cache/dl.XXXXXX")
  pkg=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: *\(linux-image-[^ ]*\)$/\1/p' | head -1)
  [ -n "$pkg" ] || die "apt knows no linux-image-cloud-amd64 (run apt-get update)"
  (cd "$t" && apt-get download "$pkg" >&2 && dpkg -x ./*.deb x) || die "cannot download $pkg"
  cp "$t"/x/boot/vmlinuz-* "$cache/vmlinuz.$$" && mv "$cache/vmlinuz.$$" "$cache/vmlinuz"; rm -rf "$t"
fi

if [ -n "${EMU_KEEP:-}" ]; then mkdir -p "$EMU_KEEP"; w=$(cd "$EMU_KEEP" && pwd)
else w=$(mktemp -d); trap '[ -z "${pid:-}" ] || kill $pid 2>/dev/null || true; rm -rf "$w"' EXIT; fi
rm -rf "$w/root" "$w/iso" "$w/stdout" "$w/stderr" "$w/kernel.log"

# The initramfs: busybox, the program, its files, and /init.
q() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
mkdir -p "$w/root/bin" "$w/root/dev" "$w/root/proc" "$w/root/sys" "$w/root/tmp" "$w/root/w" "$w/iso"
cp /bin/busybox "$w/root/bin/busybox"
prog=$(basename "$bin"); cp "$bin" "$w/root/w/$prog"; chmod 755 "$w/root/w/$prog"
for f in ${EMU_FILES:-}; do
  src=${f%%:*} dst=${f#*:}; [ "$dst" != "$f" ] || dst=$(basename "$src")
  case $dst in /*) dst=$w/root$dst;; *) dst=$w/root/w/$dst;; esac
  mkdir -p "$(dirname "$dst")"; cp -rL "$src" "$dst"
done
{
  cat <<'I'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
exec </dev/null >/dev/null 2>&1
$b stty -F /dev/ttyS0 115200 raw -echo; $b stty -F /dev/ttyS1 115200 raw -echo
cd /w
export PATH=/bin HOME=/w TMPDIR=/tmp
I
  for v in MICRORAPTOR_ISA ${EMU_ENV:-}; do
    if [ -n "${!v+x}" ]; then echo "export $v=$(q "${!v}")"; fi
  done
  q "./$prog"; for a in "$@"; do printf ' '; q "$a"; done
  cat <<'I'
 >/dev/ttyS0 2>/dev/ttyS1
echo "<0>EMU_EXIT=$?=" >/dev/kmsg
$b reboot -f
I
} >"$w/root/init"
chmod 755 "$w/root/init"
(cd "$w/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$w/iso/initrd"

# A CD with isolinux, the kernel and the initramfs. Reasons for the kernel's parameters:
# - Bochs 2.7 reports a wrong compacted size of the XSAVE area and a wrong PKU state, which would make Linux disable AVX
#   altogether (clearcpuid: 321 xsavec, 323 xsaves, 515 pku);
# - Bochs has "fast strings" off, so Linux 6.1 clears ERMS but not FSRM, and its memmove never ends (580 fsrm);
# - reboot=t: the guest stops with a triple fault, on which Bochs exits because it is configured not to reset;
# - the others skip slow parts of the boot.
cp "$cache/vmlinuz" "$w/iso/vmlinuz"; cp $isolinux $ldlinux "$w/iso/"
cat >"$w/iso/isolinux.cfg" <<I
DEFAULT l
PROMPT 0
TIMEOUT 0
LABEL l
 KERNEL vmlinuz
 APPEND initrd=initrd console=ttyS2,115200 clearcpuid=321,323,515,580 tsc_early_khz=50000 loglevel=1 acpi=off nokaslr nosmp mitigations=off nopti tsc=reliable no_timer_check clocksource=tsc lpj=100000 random.trust_cpu=on cryptomgr.notests initcall_blacklist=load_system_certificate_list,trace_eval_init,cubictcp_register,init_kprobe_trace lsm= reboot=t,force panic=-1
I
xorriso -as mkisofs -quiet -o "$w/cd.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
  -boot-info-table "$w/iso" 2>"$w/xorriso.log" || { cat "$w/xorriso.log" >&2; die "xorriso failed"; }
rm -rf "$w/root" "$w/iso"

cat >"$w/bochsrc" <<I
display_library: ${EMU_DISPLAY:-term}
cpu: model=$model, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest=$mem, host=$mem
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/vgabios/vgabios.bin
vga: extension=vbe, update_freq=1
ata0: enabled=1
ata0-master: type=cdrom, path="$w/cd.iso", status=inserted
boot: cdrom
speaker: enabled=0
clock: sync=none, time0=utc
com1: enabled=1, mode=file, dev="$w/stdout"
com2: enabled=1, mode=file, dev="$w/stderr"
com3: enabled=1, mode=file, dev="$w/kernel.log"
log: "$w/bochs.log"
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
I
# Debian's Bochs includes the debugger, which waits for a command at the start and at the end.
rc=0 rcfile=
if grep -qa 'debugger using rc file' "$bochs"; then printf 'c\nq\n' >"$w/bochscmd"; rcfile="-rc '$w/bochscmd'"; fi
TERM=xterm timeout -k 5 "$limit" script -qec "exec '$bochs' -q -f '$w/bochsrc' $rcfile" /dev/null </dev/null >"$w/screen" 2>&1 &
pid=$!
# The Bochs of 2026 hangs on exit, so it is stopped 2 s after the program's exit code is known.
while kill -0 $pid 2>/dev/null; do
  if grep -qs 'EMU_EXIT=[0-9]*=' "$w/kernel.log"; then
    for _ in 1 2 3 4; do sleep 0.5; kill -0 $pid 2>/dev/null || break; done
    kill $pid 2>/dev/null || true; break
  fi
  sleep 0.5
done
wait $pid 2>/dev/null || rc=$?
code=$(sed -n 's/.*EMU_EXIT=\([0-9]*\)=.*/\1/p' "$w/kernel.log" 2>/dev/null | tail -1)
[ ! -f "$w/stdout" ] || cat "$w/stdout"
[ ! -f "$w/stderr" ] || cat "$w/stderr" >&2
if [ -z "$code" ]; then
  { echo "--- kernel.log"; tail -n 20 "$w/kernel.log"; echo "--- bochs.log"; grep -E '^[0-9]+[pe]' "$w/bochs.log" | tail -n 10; } >&2 || true
  die "the program did not finish (bochs: $rc; 124 means the time limit of $limit s)"
fi
exit "$code"
