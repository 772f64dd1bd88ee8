"""The web process and control plane: who may do what, every version of everything, jobs and the fleet."""
