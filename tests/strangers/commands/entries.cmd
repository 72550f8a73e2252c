# Packets cannot be given to a node that only brings them in: it would keep their buffers.
packet-generator new { name a node af-xdp-input data { IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 } }
! a node that packets can be given to
packet-generator new { name a node pg-input data { IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 } }
! a node that packets can be given to
packet-generator new { name a node no-such-node data { IP4: 1.2.3 -> 4.5.6 } }
! expected a graph node
packet-generator new { name a limit 5 source pg0 data { IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 } }
packet-generator enable-stream a
show buffers
= default
