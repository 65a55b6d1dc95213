"""The rehearsal cluster: a small, real world on one machine to run releases in."""
