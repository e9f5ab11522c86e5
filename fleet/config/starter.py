"""What does a new operator start from?"""

STARTER = """\
# A fleet: hosts that run workers, queues that carry tasks, one broker between them.
#
#   fleet config check        is this file right?
#   fleet provision broker    make RabbitMQ match it
#   fleet worker --host NAME  run the workers of a host
#
# Durations are seconds or texts such as "30s", "5m", "26h", "7d".
# Secrets are never written here, only where they are kept:
#   "env:NAME"   "file:/absolute/path"   "credential:NAME" (systemd LoadCredential=)

[fleet]
version = 1                       # of the form of this file
name = "office"
timezone = "UTC"                  # of the schedule; an IANA name such as "Europe/Berlin"
# state_dir = "/var/lib/fleet"    # on each host: the ledger, the outbox, beat's memory

# --- The broker -----------------------------------------------------------------------------------
[broker]
url = "amqp://127.0.0.1:5672"     # several nodes: nodes = ["amqps://mq1:5671", "amqps://mq2:5671"]
# vhost = "celery"
# user = "celery"
password = "env:FLEET_BROKER_PASSWORD"
# profile = "per-host"            # each host has a broker user of its own, to be revoked alone; or "open"
# host_password = "file:/etc/fleet/{host}.password"   # with per-host: where each host's password is

# Only `fleet provision broker` uses this. Without it, rabbitmqctl on the broker's host does the same.
[broker.management]
url = "http://127.0.0.1:15672"
user = "admin"
password = "env:FLEET_ADMIN_PASSWORD"

# [broker.users.shop]             # a web application that may only enqueue mail
# role = "publisher"              # or "observer" (reads outcomes), "operator" (inspects workers), "monitor"
# queues = ["email"]
# password = "env:SHOP_BROKER_PASSWORD"

# [broker.users.beat]             # `fleet beat` logs in as it, and may send nothing but what [schedule] says
# role = "scheduler"
# password = "file:/etc/fleet/beat.password"

# --- The hosts ------------------------------------------------------------------------------------
# Wherever hosts are named: a name, a glob ("web-*") or a label ("@db").
[hosts.alpha]
address = "10.0.0.11"
labels = ["web"]

[hosts.beta]
address = "10.0.0.12"
labels = ["db"]

# [ssh]                           # how `fleet hosts` reaches them; what is left out is as ~/.ssh/config says
# user = "admin"                  # root, or a user who may become root with sudo
# key = "~/.ssh/fleet"
# jump = "admin@bastion.example.org"

# --- Queues and workers ---------------------------------------------------------------------------
# Every fleet has the queues `backup` (one per host, long tasks), `email` and `default`, and on each host the
# workers `backup` and `shared`. Declare your own to change that:
#
# [queues.shop]
# max_runtime = "10m"
#
# [workers.backup]
# queues = ["backup"]             # a long queue has a worker of its own
# [workers.shared]
# hosts = ["@web"]
# queues = ["email", "default", "shop"]
# concurrency = 4

# --- Backups --------------------------------------------------------------------------------------
[backups.etc]
hosts = ["*"]
sources = ["/etc"]
destination = "/srv/backup"       # snapshots land in /srv/backup/HOST/etc
restore_dir = "/srv/restore"      # restores that arrive as messages write only here
max_age = "26h"                   # an alert fires when the last success is older

[backups.etc.retention]
last = 7
daily = 7
weekly = 4
monthly = 6

# --- Mail -----------------------------------------------------------------------------------------
# [mail]
# from = "Office <office@example.org>"
# templates = "mail"              # beside this file: welcome.subject.txt, welcome.txt, welcome.html
#
# [mail.smtp]
# host = "smtp.example.org"
# user = "office"
# password = "env:SMTP_PASSWORD"

# --- URLs that fleet.check_urls asks for ----------------------------------------------------------
# [urls.shop]
# url = "https://shop.example.org/"

# --- The schedule, sent by `fleet beat` -----------------------------------------------------------
[schedule.weekly-etc]
backup = "etc"
crontab = "30 7 * * mon"          # Mondays at 07:30
jitter = "10m"                    # each host at a fixed moment within ten minutes

# --- Your own tasks -------------------------------------------------------------------------------
# [tasks]
# imports = ["shop.tasks"]
# [tasks.routes]
# "shop.*" = "shop"
"""
