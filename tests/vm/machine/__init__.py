# SPDX-License-Identifier: Apache-2.0
"""Virtual machines with real NIC drivers: what they are made of (`fetch`), their first file system (`initrd`), and a run (`run`).

`scripts/vm-lab` is the way in; `tests/test_vm.py` runs what lies in `tests/vm/guest` in them.
"""
