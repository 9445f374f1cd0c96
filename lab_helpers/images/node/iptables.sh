#!/bin/sh
# Runs in a container of the node's Debian: collects in /tmp/out what kube-proxy calls, both kinds of iptables with all
# that they load.
set -eu
out=/tmp/out
mkdir -p $out
for kind in nft legacy; do
    mkdir -p $out/iptables/$kind
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -s /usr/sbin/xtables-$kind-multi $out/iptables/$kind/$name
    done
    cp --parents /usr/sbin/xtables-$kind-multi $out
done
cp -a --parents /usr/lib/*/xtables $out
for file in /usr/sbin/xtables-*-multi /usr/lib/*/xtables/*.so; do ldd "$file" 2> /dev/null || true; done |
    grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
    cp -L --parents "$library" $out
done
