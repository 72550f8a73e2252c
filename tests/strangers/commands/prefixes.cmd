ip route add 10.0.0.0/33 via drop
! the length of an IPv4 prefix is 0 to 32
ip route add 10.0.0/8 via drop
! is no IP address
show ip fib 10.0.0.0/33
! the length of an IPv4 prefix is 0 to 32
create loopback interface
= loop0
set interface ip address loop0 10.0.0.1/33
! the length of an IPv4 prefix is 0 to 32
ip route add 2001:db8::/129 via drop
! the length of an IPv6 prefix is 0 to 128
show ip6 fib 10.0.0.0/8
! this is no IPv6 prefix
