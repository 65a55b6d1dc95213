"""The Kubernetes API of the rehearsal cluster: emulated in memory, or a real kube-apiserver where one is given."""
