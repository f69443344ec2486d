abi <abi/3.0>,
# All but eBPF.
profile tcpclose-test-confined flags=(attach_disconnected,mediate_deleted) {
  /** rwlkmix,
  / r,
  network,
  unix,
  ptrace,
  signal,
  mount,
  umount,
  capability,
  deny capability bpf,
  deny capability perfmon,
  deny capability sys_admin,
}
