"""Workers: threads, pools, other loops. Delivers by posting; must not know sockets."""
