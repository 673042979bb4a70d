#!/bin/sh
# A cluster with the user and database that POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB name, made once.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 >/tmp/initdb.log
  rm /tmp/password
  printf 'CREATE DATABASE %s;\n' "$POSTGRES_DB" | postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp
