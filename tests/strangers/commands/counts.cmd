# Counts and sizes from outside are bounded before memory is taken.
ip route add count 4294967295 0.0.0.0/32 via drop
! expected 1 to 4000000
ip route add count 0 10.0.0.0/32 via drop
! expected 1 to 4000000
ip route add count 4000000 255.255.255.0/32 via drop
! leave the IPv4 address space
ip route add count 3000 10.0.0.0/32 via drop
show ip fib summary
= installed:3
show ip fib
= 10.0.11.183/32
ip route del count 3000 10.0.0.0/32
show ip fib 10.0.11.183/32
pcap trace rx max 18446744073709551616
! expected number of packets
