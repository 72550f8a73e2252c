# Words of VPP's command files and of its users.
create loopback interface mac 2:fe:0:0:a:1
= loop0
set interface state loop0 up
set interface ip address loop0 192.0.2.1/24
set ip neighbor loop0 192.0.2.2 1:2:3:4:5:6
! 01:02:03:04:05:06
set ip neighbor loop0 192.0.2.2 2:2:3:4:5:6
show ip neighbors
= 02:02:03:04:05:06
show ip neighbors
=    D 
ip neighbor add loop0 192.0.2.3 0001.0002.0003
show ip neighbors loop0
= 00:01:00:02:00:03
ip neighbor loop0 192.0.2.2 2:2:3:4:5:6 static
show ip neighbors
=    S 
set ip neighbor loop0 192.0.2.2 2:2:3:4:5:6
set ip neighbor loop0 192.0.2.2 2:2:3:4:5:7
! static
set ip neighbor static loop0 192.0.2.100 2:2:3:4:5:fe count 3
show ip neighbors
= 02:02:03:04:06:00
set ip neighbor loop0 192.0.2.100 del count 3
set ip neighbor loop0 192.0.2.100 2:2:3:4:5:fe count 4294967295
! expected 1 to
set ip neighbor loop0 192.0.2.2 2:2:3:4:5:6 no-fib-entry
! always has its route
set ip neighbor loop0 192.0.2.2
! expected MAC address
set ip neighbor
! expected interface
ip neighbor loop0 192.0.2.2 delete
ip table 7
ip table 7
ip table add 7 name blue
ip table add 7 name blue
ip table add 0
! 0
ip6 table 7
ip6 table add 7
ip neighbor flush loop0
ip neighbor flush
clear ip neighbors
create loopback interface
set interface unnumbered loop1 use loop0
set interface tag loop0 uplink
set ip neighbor-config ip4 limit 1000 age 60 unresolved 10
show settings
= neighbor-limit
set ip neighbor-config ip4 limit 1000 old 60
! old
set logging class cli level debug
set logging class cli
! expected level
test log cli test warn words that arrive
show logging
set arp proxy start 192.0.2.10 end 192.0.2.20
! set interface proxy-arp
wait 0.01
wait soon
! it is no time from 0 to 3600
set clock adjust 3
= the kernel's
adjacency counters enable
= counted by route
ip neighbor add static loop0 192.0.2.3 0001.0002.0003
show adj
= 192.0.2.3
show adj 77777
! there is no adjacency 77777
show node counters
= Count
clear node counters
api trace tx on
! api
show interface adress
! did you mean "address"
shwo interface
! unknown word "shwo" (did you mean "show"?)
