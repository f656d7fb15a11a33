"""Tasks: generators and coroutines in the a-sync / await / resume model. Knows the loop; must not know sockets or protocols."""
