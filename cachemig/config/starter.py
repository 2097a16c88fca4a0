"""The cachemig.toml that `cachemig init` writes: valid as it is, every key explained."""

STARTER = """\
# cachemig.toml: which servers hold the shared-state caches of which site.
# cachemig keeps its inventories, shard maps, plans and receipts in .cachemig/ beside this
# file; state_dir = "/var/lib/cachemig" at this place puts them elsewhere.

# The site to move from. A site is a data center; its servers hold its caches together.
[site.old]
# retention = "15d"          # how long its cleaner keeps an object that nobody used

[[site.old.server]]
name = "nfs-1"
url = "ssh://ops@nfs-1.example.com:22/srv/sstate"   # or a path here, such as a mount

# The site to move to. One server is enough; several share the slots by weight.
[site.new]
# group = "sstate"           # the group that published files shall belong to

[[site.new.server]]
name = "nfs-8"
url = "ssh://ops@nfs-8.example.com/srv/sstate"
weight = 2.0                 # twice the slots of nfs-9; or capacity = "4TiB" for all of them

[[site.new.server]]
name = "nfs-9"
url = "ssh://ops@nfs-9.example.com/srv/sstate"
weight = 1.0

# A cache is one sstate tree: a folder below the root of each server that holds it.
# Without any [cache.NAME] there is one, named "default", at the root itself.
# [cache.release-5]
# path = "release-5/sstate-cache"
# placement = "slots"        # spread over the servers; "whole": it lives on one of them

# What ~/.ssh/config says is honoured. No unknown host key is ever accepted.
[ssh]
client = "auto"              # the system's ssh if there is one, else "paramiko"
# identity_file = "~/.ssh/id_ed25519"
# known_hosts_file = "~/.ssh/known_hosts"
# silence_limit = "30s"      # a connection that says nothing for so long is made again
# direct_config_file = "~/.ssh/config"   # on the old servers: how they log in at the new ones

[sync]
connections = 5              # per pair of servers, to start with
# bwlimit = "400Mbit/s"      # over all connections together

# Whose builds use which caches, and what a move may cost their first build.
# [customer.acme]
# caches = ["release-5"]
# weight = 1.0
# max_extra_build_time = "10min"
"""
