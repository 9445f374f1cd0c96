module vm-to-kubernetes/shim

go 1.21
