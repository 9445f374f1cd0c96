#!/bin/sh
# Runs as a customize hook of mmdebstrap: $1 is the new root. Turns a plain Debian into the guest of the course.
# The environment gives: LAB_RECIPE (the folder of this file), LAB_KERNEL (the kernel's package name).
set -eu
root=$1
recipe=$LAB_RECIPE

# --- The kernel, unpacked and not installed: its hooks would build a large initial ramdisk that this guest does not need.
download=$(mktemp -d "$root/var/tmp/kernel.XXXXXX")
kernel=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends --important "$LAB_KERNEL" | sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p' | head -n 1)
(cd "$download" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download -qq -o APT::Sandbox::User=root "$kernel")
dpkg-deb --fsys-tarfile "$download"/*.deb | tar -C "$download" -x
version=$(ls "$download"/usr/lib/modules 2>/dev/null || ls "$download"/lib/modules)
mkdir -p "$root/usr/lib/modules" "$root/boot"
[ -d "$download/usr/lib/modules" ] || mkdir -p "$download/usr/lib" && [ -d "$download/usr/lib/modules" ] || mv "$download/lib/modules" "$download/usr/lib/modules"
mv "$download/usr/lib/modules/$version" "$root/usr/lib/modules/"
mv "$download/boot/config-$version" "$root/boot/"
mv "$download/boot/vmlinuz-$version" "$root/boot/vmlinuz"
rm -rf "$download"
depmod -b "$root/usr" "$version" 2>/dev/null || chroot "$root" depmod "$version"

# --- The initial ramdisk: busybox, the drivers of virtio disks (with ext4), network cards and ports, and a script of forty lines.
# It is not packed: QEMU reads it at the speed of the host, and the guest would unpack it at its own.
ramdisk=$(mktemp -d "$root/var/tmp/ramdisk.XXXXXX")
mkdir -p "$ramdisk/bin" "$ramdisk/modules" "$ramdisk/proc" "$ramdisk/sys" "$ramdisk/dev" "$ramdisk/root"
cp "$root/usr/bin/busybox" "$ramdisk/bin/busybox"
cp "$recipe/mini-init" "$ramdisk/init"
chmod 755 "$ramdisk/init"
: > "$ramdisk/modules/order"
for module in virtio_pci virtio_mmio virtio_blk ext4 virtio_net virtio_console; do
    chroot "$root" modprobe --show-depends --set-version "$version" "$module" 2>/dev/null || true
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
    name=$(basename "$file")
    case $name in
        *.xz) name=${name%.xz}; xz -dc "$root$file" > "$ramdisk/modules/$name" ;;
        *.zst) name=${name%.zst}; zstd -qdc "$root$file" > "$ramdisk/modules/$name" ;;
        *) cp "$root$file" "$ramdisk/modules/$name" ;;
    esac
    echo "$name" >> "$ramdisk/modules/order"
done
(cd "$ramdisk" && find . | LC_ALL=C sort | "$root/usr/bin/busybox" cpio -o -H newc 2>/dev/null) > "$root/boot/initrd.img"
rm -rf "$ramdisk"

# --- Files of the course, and a name.
cp -R "$recipe/rootfs/." "$root/"
echo vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n10.0.2.2 host\n' > "$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
: > "$root/etc/fstab"
echo uninitialized > "$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_*
rm -f "$root/etc/modules-load.d/modules.conf" # leads to a list of nothing, for which a boot would run systemd-modules-load
mkdir -p -m 700 "$root/root/.ssh"
chroot "$root" passwd --quiet --delete root

# --- PostgreSQL: a role and a database for Pinboard, by peer login over the Unix socket, so no password is on the disk.
cluster=$(ls "$root/etc/postgresql")
conf="$root/etc/postgresql/$cluster/main"
printf "jit = off\nshared_buffers = 32MB\nmax_connections = 40\n" > "$conf/conf.d/lab.conf"
chroot "$root" useradd --system --create-home --home-dir /var/lib/pinboard --shell /usr/sbin/nologin pinboard
for statement in 'CREATE ROLE pinboard LOGIN' 'CREATE DATABASE pinboard OWNER pinboard'; do
    echo "$statement;" | chroot "$root" setpriv --reuid=postgres --regid=postgres --init-groups \
        "/usr/lib/postgresql/$cluster/bin/postgres" --single -c dynamic_shared_memory_type=mmap \
        -c "config_file=/etc/postgresql/$cluster/main/postgresql.conf" -D "/var/lib/postgresql/$cluster/main" postgres > /dev/null
done
# PostgreSQL itself, without the perl wrapper that waits for it: seconds under emulation.
cat > "$root/etc/systemd/system/postgresql.service" <<UNIT
[Unit]
Description=PostgreSQL $cluster
After=network.target

[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
RuntimeDirectoryMode=2775
ExecStart=/usr/lib/postgresql/$cluster/bin/postgres -D /var/lib/postgresql/$cluster/main -c config_file=/etc/postgresql/$cluster/main/postgresql.conf
ExecReload=/bin/kill -HUP \$MAINPID
KillSignal=SIGINT
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
UNIT

# --- A short boot: no udev (the initial ramdisk loads the drivers), no logind, no timers, no console on a screen that is not there.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udevd-varlink.socket systemd-udev-load-credentials.service systemd-hwdb-update.service \
    systemd-logind.service systemd-logind-varlink.socket dbus.service dbus.socket \
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-random-seed.service systemd-pstore.service \
    systemd-update-utmp.service systemd-journal-flush.service systemd-journal-catalog-update.service \
    systemd-firstboot.service systemd-sysusers.service systemd-remount-fs.service systemd-fsck-root.service \
    systemd-timesyncd.service systemd-networkd.service ldconfig.service kmod-static-nodes.service \
    systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service run-lock.mount tmp.mount \
    systemd-update-done.service systemd-user-sessions.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@fuse.service modprobe@loop.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
    systemd-sysctl.service systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    systemd-pcrmachine.service systemd-ask-password-console.path systemd-ask-password-wall.path \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer logrotate.timer \
    man-db.timer systemd-tmpfiles-clean.timer getty@tty1.service getty-static.service serial-getty@ttyS0.service \
    serial-getty@hvc0.service e2scrub_reap.service postgresql@.service ssh.socket; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    case ${generator##*/} in
        systemd-fstab-generator) ;;
        *) ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}" ;;
    esac
done
ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
chroot "$root" systemctl --quiet enable ssh.service postgresql.service lab-guest-agent.service \
    lab-sysctl.service lab-console.service lab-hostkeys.service
chroot "$root" systemctl --quiet disable qemu-guest-agent.service 2>/dev/null || true

# --- What a server does not need.
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
