# Words in any order, add by default, and every command twice.
create loopback interface
set interface state loop0 up
set interface ip address loop0 192.0.2.1/24
ip route 203.0.113.0/24 via 192.0.2.2
ip route 203.0.113.0/24 via 192.0.2.2
ip route add 203.0.113.0/24 via 192.0.2.2 loop0 weight 2 preference 7
ip route add 198.51.100.0/24 table 0 via 192.0.2.3
ip route add 198.51.100.0/24 via 192.0.2.3
ip table 7
ip route add 10.0.0.0/8 count 2 table 7 via 192.0.2.2 loop0
show ip fib table 7 11.0.0.0/8
= 192.0.2.2
show ip fib 198.51.100.9
= 198.51.100.0/24
show ip fib 8.8.8.8
= no route to 8.8.8.8
show ip fib 8.8.8.0/24
= no route to 8.8.8.0/24
show ip fib mtrie
= prefixes
ip route del 198.51.100.0/24
ip route del 198.51.100.0/24
= 198.51.100.0/24: there is no such route
ip route del 192.0.2.0/24
= cli has no such route; that of connected remains
ip route add 192.0.2.0/24 via drop
ip route del 192.0.2.0/24
= the route of connected remains
# A route into its own table is found again for ever.
ip route add 0.0.0.0/0 via table 0
! leads into its own table
ip route add 10.0.0.0/8 table 7 via table 7
! leads into its own table
ip route add 172.16.0.0/12 via table 7
ip route add via 192.0.2.2
! expected
