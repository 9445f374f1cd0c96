#!/bin/sh
# Runs in the container that becomes the node image, whichever way it is made.
set -eu
# The kubelet reads the folder after kubeadm's own configuration.
sed -i 's|$| --config-dir=/etc/kubernetes/kubelet.conf.d|' /etc/default/kubelet
# Where nobody may lower the OOM score below containerd's own, pods start all the same. Elsewhere this changes nothing:
# containerd's own is the lowest but one.
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
