# Routes and tables in the words and orders of VPP's and FRR's users, and once more.
create loopback interface
set interface state loop0 up
set interface ip address loop0 192.0.2.1/24
ip table 7 name blue
ip route add table 7 10.1.0.0/16 via 192.0.2.2 loop0
ip route add 10.1.0.0/16 table 7 via 192.0.2.2 loop0
ip route table 7 count 2 10.2.0.0/16 via drop
ip route add 10.4.0.0/16 via drop table 7
ip route add via drop 10.5.0.0/16
! expected
show ip route table 7
= 10.3.0.0/16
show ip fib table 7 10.4.0.0/16
= 10.4.0.0/16
ip route add table 8 10.1.0.0/16 via drop
! no IPv4 table 8
ip route add 10.6.0.0/16 via null-send-unreach
ip route add 10.7.0.0/16 via null-send-prohibit
show ip route 10.7.0.0/16
= prohibit
ip route delete 10.6.0.0/16
ip route del 10.6.0.0/16
= there is no such route
ip route del table 7 10.1.0.0/16 via 192.0.2.2 loop0
ip route del count 2 table 7 10.2.0.0/16
ip route del 10.4.0.0/16 table 7
ip table del 7
ip table del 7
ip6 table 9
ip route add table 9 2001:db8::/32 via drop
show ipv6 route table 9
= 2001:db8::/32
show ip6 route table 9
= 2001:db8::/32
ip route del table 9 2001:db8::/32
ip6 table del 9
ip6 table del 9
set ip arp loop0 192.0.2.9 02:00:00:00:00:09
set ip arp static loop0 192.0.2.9 02:00:00:00:00:09
show ip arp
= 192.0.2.9
show arp loop0
= 192.0.2.9
clear hardware-interfaces
show hardware-interfaces
show hardware-interfaces verbose
