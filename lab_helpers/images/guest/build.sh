#!/bin/sh
# Builds the guest's disk out of Debian packages; runs on a Debian or Ubuntu, or in a container of Debian.
# Environment: LAB_RECIPE (this folder), LAB_OUT (the folder to make), LAB_ARCH, LAB_SUITE, LAB_PACKAGES, LAB_KERNEL,
# LAB_WAY (how to call this way of getting it) and, if wanted, LAB_DEBIAN_MIRROR. What it prints with "STEP n/m" in front is progress.
set -eu
unset CDPATH
began=$(date +%s)
part=$LAB_OUT.part
scratch=$part/scratch
mode=root
as_root=
# In a mount namespace of its own: what a killed build has mounted is gone with it.
apart="unshare --mount --propagation private"
if [ "$(id -u)" != 0 ]; then
    mode=unshare
    apart=
    as_root="mmdebstrap --unshare-helper"
    # The ids with which a user builds may neither enter a home folder that is closed nor write to what the user owns.
    scratch=${TMPDIR:-/var/tmp}/lab-$(id -u)-${LAB_OUT##*/}
fi
tree=$scratch/tree

step() { echo "STEP $1/6 $2"; }

remove() {
    # The tree belongs to the ids of the build, and is emptied with them; the rest is ours. Mounts of a build that was
    # killed end with its namespace; staying on one file system is the belt to these braces.
    [ ! -d "$1/tree" ] || $as_root find "$1/tree" -xdev -mindepth 1 -delete
    [ ! -e "$1" ] || rm -rf --one-file-system -- "$1"
}

mirror=${LAB_DEBIAN_MIRROR:-}
if [ -z "$mirror" ] && grep -q '^ID=debian' /etc/os-release; then
    # A Debian host knows the mirror that is right for this network.
    # shellcheck disable=SC2016  # the $(...) below is apt's own notation
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)' 'Created-By: Packages' 2> /dev/null |
        awk '$3 == "main" && $4 == "Debian" && $2 !~ /-/ { print $1; exit }')
fi
if command -v apt-config > /dev/null && [ -z "${http_proxy:-}" ]; then
    http_proxy=$(apt-config shell p Acquire::http::Proxy | sed "s/^p='\(.*\)'$/\1/")
    [ -z "$http_proxy" ] || export http_proxy
fi

step 0 "cleaning up after an earlier try"
remove "$scratch"
remove "$part"
mkdir -p "$part"
mkdir -m 711 "$scratch"
cp -R "$LAB_RECIPE" "$scratch/recipe"
chmod -R a+rX "$scratch/recipe"
export LAB_RECIPE="$scratch/recipe"
step 1 "downloading and installing Debian packages"
$apart mmdebstrap --mode=$mode --architectures="$LAB_ARCH" --variant=apt --include="$LAB_PACKAGES" --format=directory \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="$LAB_RECIPE/customize.sh" "$LAB_SUITE" "$tree" ${mirror:+"$mirror"}
step 4 "making the disk"
$as_root cat "$tree/boot/vmlinuz" > "$part/vmlinuz"
$as_root cat "$tree/boot/initrd.img" > "$part/initrd.img"
# metadata_csum_seed and orphan_file are left out: an older e2fsck on a host could not read the disk.
: > "$scratch/disk.raw"
chmod 666 "$scratch/disk.raw"
$as_root mke2fs -q -t ext4 -m 0 -O ^metadata_csum_seed,^orphan_file -d "$tree" "$scratch/disk.raw" "$LAB_DISK_SIZE"
step 5 "packing the disk"
qemu-img convert -f raw -O qcow2 "$scratch/disk.raw" "$part/disk.qcow2"
remove "$scratch"
cat > "$part/image.json" <<FACTS
{"way": "$LAB_WAY", "seconds": $(($(date +%s) - began)), "suite": "$LAB_SUITE", "packages": "$LAB_PACKAGES"}
FACTS
chmod 444 "$part/disk.qcow2" "$part/vmlinuz" "$part/initrd.img"
remove "$LAB_OUT"
mv "$part" "$LAB_OUT"
step 6 "done"
