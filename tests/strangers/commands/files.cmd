# Only regular files are read, and none for ever.
exec /dev/zero
! it is a device, not a regular file
exec /
! it is a directory, not a regular file
packet-generator new { name a source pg0 pcap /dev/zero }
! it is a device, not a regular file
packet-generator new { name a source pg0 pcap /nonexistent }
! No such file
