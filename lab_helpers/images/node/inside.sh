#!/bin/sh
# Runs in the container that becomes the node image: puts Debian's programs where kind looks for them, and leaves to
# systemd only what a node needs.
set -eu
chown -R root:root /kind /usr/local /etc/containerd /etc/systemd /etc/kubernetes /opt/cni
chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/* /usr/bin/kube* /opt/cni/bin/*
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
    /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
    /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
    /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
echo ReadKMsg=no >> /etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl -q enable kubelet.service containerd.service undo-mount-hacks.service
systemctl -q mask systemd-binfmt.service
ln -sf /usr/bin/containerd /usr/bin/ctr /usr/bin/containerd-shim-runc-v2 /usr/local/bin/
ln -sf /usr/sbin/runc /usr/local/sbin/runc
rm -rf /usr/lib/cni
ln -s /opt/cni/bin /usr/lib/cni
ctr oci spec |
    jq '.hooks.createContainer[0] = {"path": "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' \
        > /etc/containerd/cri-base.json
# One image of pause is enough: the one that kubeadm names.
sed -i "s|registry.k8s.io/pause:[0-9.]*|$1|" /etc/containerd/config.toml
rm -f /etc/machine-id /var/lib/dbus/machine-id
