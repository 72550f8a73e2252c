# A number that does not fit is refused, never cut, and the sentence says what fits.
create loopback interface
set interface ip table loop0 4294967296
! it is no number from 0 to 4294967295
set interface ip table loop0 18446744073709551616
! it is no number from 0 to 4294967295
set interface ip table loop0 x
! it is no number from 0 to 4294967295
set interface mtu packet 65536 loop0
! it is no number from 68 to 65535
set interface ip min-ttl loop0 256
! it is no number from 1 to 255
set interface tcp-mss loop0 65536
! it is no number from 1 to 65535
ip route add 10.0.0.0/8 via drop preference 4294967296
! it is no number from 0 to 4294967295
ip route add 10.0.0.0/8 via 192.0.2.1 weight 0
! it is no number from 1 to 65535
ip table add -1
! it is no number from 0 to 4294967295
show adj 9999999999
! it is no number from 0 to 4294967295
set ip neighbor-config ip4 limit 4294967295
! limits { next-hops }
set ip neighbor-config ip4 limit 0
! it is no number from 1 to 4294967295
