# A filter is opened by the command that closed it, and by no other.
create loopback interface
classify rule add closed id 1 action drop
classify attach closed interface loop0 input
set interface feature loop0 ip4-classify arc ip4-unicast disable
! expected the command 'classify attach'
show interface features loop0
= ip4-classify
set urpf ip4 rx strict loop0
set interface feature loop0 ip4-rx-urpf-strict arc ip4-unicast disable
! expected the command 'set urpf'
set interface ip min-ttl loop0 255
set interface feature loop0 ip4-min-ttl arc ip4-local disable
! expected the command 'set interface ip min-ttl'
