#!/bin/sh
# Puts the node image together out of a Debian and of programs that are built; runs where the docker command reaches the
# engine. Environment: that of common.sh, LAB_DEBIAN (a tar of Debian), LAB_PROGRAMS (folders of programs, one a line),
# LAB_KIND_FILES (kind's own files for a node), LAB_VERSION (of Kubernetes).
set -eu
# shellcheck source=common.sh
. "$LAB_RECIPE/common.sh"
begin

echo "STEP 1/5 Debian into the engine"
debian=$(docker import -c "LABEL $mine" "$LAB_DEBIAN")
mkdir programs
echo "$LAB_PROGRAMS" | while read -r folder; do for each in "$folder"/*; do ln -s "$each" programs/; done; done

echo "STEP 2/5 images of the cluster's own programs"
names=$(programs/kubeadm config images list --kubernetes-version "v$LAB_VERSION")
name_of() { echo "$names" | grep "/$1:"; }
for each in kube-apiserver kube-controller-manager kube-scheduler; do
    program "programs/$each" "/usr/local/bin/$each"
    image "$(name_of "$each")"
done
program programs/server /usr/local/bin/etcd
program programs/etcdctl /usr/local/bin/etcdctl
program programs/etcdutl /usr/local/bin/etcdutl
image "$(name_of etcd)"
program programs/coredns /coredns
image "$(name_of coredns)" /coredns
program programs/pause /pause
pause=$(name_of pause)
image "$pause" /pause
program programs/podnetwork /podnetwork
image lab.local/pod-network:1 /podnetwork
program programs/local-path-provisioner /usr/local/bin/local-path-provisioner
image lab.local/local-path-provisioner:0.0.30 /usr/local/bin/local-path-provisioner
program programs/metrics-server /metrics-server
image "$metrics" /metrics-server
tar -xf "$LAB_DEBIAN" -O ./usr/bin/busybox > programs/busybox
chmod 755 programs/busybox
program programs/busybox /bin/busybox
for each in $(programs/busybox --list); do [ "$each" = busybox ] || ln -s busybox "root/bin/$each"; done
image lab.local/local-path-helper:1
start "$debian"
docker exec -i "$box" sh -s < "$LAB_RECIPE/iptables.sh"
mkdir root
docker cp "$box:/tmp/out/." - | tar -C root -xf -
docker rm -f "$box" > /dev/null
program programs/kube-proxy-start /usr/local/bin/kube-proxy
program programs/kube-proxy /usr/local/bin/kube-proxy.real
image "$(name_of kube-proxy)"

echo "STEP 3/5 the node's own files"
mkdir -p root/usr/bin root/opt/cni/bin root/kind/manifests root/etc/kubernetes/manifests
cp -R "$LAB_KIND_FILES/etc" "$LAB_KIND_FILES/kind" "$LAB_KIND_FILES/usr" root/
chmod -R u+w root
for each in kubeadm kubelet kubectl; do cp "programs/$each" root/usr/bin/; done
for each in ptp host-local portmap loopback; do cp "programs/$each" root/opt/cni/bin/; done
printf 'v%s' "$LAB_VERSION" > root/kind/version
cp "$LAB_RECIPE/manifests/default-cni.yaml" "$LAB_RECIPE/manifests/default-storage.yaml" root/kind/manifests/
start "$debian"
tar -C root --owner=0 --group=0 --numeric-owner -cf - . | docker cp - "$box:/"
rm -rf root
docker exec -i "$box" sh -s "$pause" < "$LAB_RECIPE/inside.sh"
adapt

echo "STEP 4/5 the images into the node"
images | load

echo "STEP 5/5 the node image"
finish
