#!/bin/sh
# Makes the base image's tar out of Debian packages; runs on a Debian or Ubuntu, as root or as a user.
# Environment: LAB_RECIPE (this folder), LAB_OUT (the tar to make; facts about it go beside it), LAB_ARCH, LAB_SUITE,
# LAB_PACKAGES (comma separated), LAB_WAY (how to call this way of getting it) and, if wanted, LAB_DEBIAN_MIRROR.
set -eu
unset CDPATH
began=$(date +%s)
name=${LAB_OUT%.tar}
mode=root
as_root=
# In a mount namespace of its own: what a killed build has mounted is gone with it.
apart="unshare --mount --propagation private"
if [ "$(id -u)" != 0 ]; then
    mode=unshare
    apart=
    as_root="mmdebstrap --unshare-helper"
fi
# Not below LAB_OUT: the ids with which a user builds may not enter a home folder that is closed.
scratch=${TMPDIR:-/var/tmp}/lab-$(id -u)-${name##*/}

remove() {
    # A user's tree belongs to the ids of the build, and is emptied with them. Mounts of a build that was killed end with
    # its namespace; staying on one file system is the belt to these braces.
    for tree in "$scratch"/mmdebstrap.*; do
        [ ! -d "$tree" ] || [ -O "$tree" ] || $as_root find "$tree" -xdev -mindepth 1 -delete
    done
    [ ! -e "$scratch" ] || rm -rf --one-file-system -- "$scratch"
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

remove
mkdir -m 711 "$scratch"
cp "$LAB_RECIPE/trim.sh" "$scratch/trim.sh"
chmod 755 "$scratch/trim.sh"
TMPDIR=$scratch $apart mmdebstrap --mode=$mode --architectures="$LAB_ARCH" --variant=apt --include="$LAB_PACKAGES" --format=tar \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="$scratch/trim.sh" "$LAB_SUITE" - ${mirror:+"$mirror"} > "$LAB_OUT.part"
remove
echo "{\"way\": \"$LAB_WAY\", \"seconds\": $(($(date +%s) - began))}" > "$name.json"
mv "$LAB_OUT.part" "$LAB_OUT"
