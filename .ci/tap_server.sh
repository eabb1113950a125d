#!/bin/bash
# A real TAP server on loopback for the tests: PostgreSQL 15 and DaCHS (Debian 12, root), serving real stars of the
# shared fields as gaiadr3.gaia_source.   usage: .ci/tap_server.sh [start|stop]
#
# The URL is written to $DECOCC_TAP_DIR/url (by default in the folder for temporary files), where the tests look.
set -euo pipefail
cd "$(dirname "$0")/.."
state=${DECOCC_TAP_DIR:-${TMPDIR:-/tmp}/decocc_vo_tap}
python=${PYTHON:-python3}
data=${DECOCC_VO_DATA:-../shared/data}

answers() { curl -sf -m 5 -o /dev/null "$1/availability"; }
stop() {
    if [ -s "$state/pid" ]; then kill -- "-$(cat "$state/pid")" 2>/dev/null || true; fi
    rm -f "$state/pid" "$state/url"
}

if [ "${1:-start}" = stop ]; then stop; exit 0; fi
if [ -s "$state/url" ] && answers "$(cat "$state/url")"; then echo "TAP server: $(cat "$state/url")"; exit 0; fi
if [ ! -d "$data/fields" ]; then echo "TAP server: no fields in $data, nothing to serve"; exit 0; fi
mkdir -p "$state"; chmod 755 "$state"
stop

install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$state/apt.log" 2>&1; }
wanted=(postgresql-15 postgresql-client-15 postgresql-15-pgsphere postgresql-15-q3c curl)
if ! dpkg -s "${wanted[@]}" gavodachs2-server >/dev/null 2>&1; then
    apt-get update -qq
    install "${wanted[@]}"
fi
pg_lsclusters -h | grep -q '^15 *main .* online' || pg_ctlcluster 15 main start
for _ in $(seq 100); do runuser -u postgres -- pg_isready -q && break; sleep 0.2; done

# pg_sphere 1.2.0 names one commutator twice, which PostgreSQL since 15.1x refuses: the obsolete operators on smoc go.
"$python" - <<'PYTHON'
import pathlib
import re

script = pathlib.Path("/usr/share/postgresql/15/extension/pg_sphere--1.2.0.sql")
if script.exists():
    text = script.read_text()
    pattern = r"CREATE OPERATOR @ \(\s*LEFTARG\s*=\s*(?:bigint|spoint),\s*RIGHTARG\s*=\s*smoc,.*?\);\n"
    script.write_text(re.sub(pattern, "", text, flags=re.S))
PYTHON
# The package's own set-up makes the database, and needs PostgreSQL to run.
dpkg -s gavodachs2-server >/dev/null 2>&1 || install gavodachs2-server

port=${DECOCC_TAP_PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
cat >/etc/gavo.rc <<RC
[web]
bindAddress: 127.0.0.1
serverPort: $port
serverURL: http://127.0.0.1:$port
[async]
maxTAPRunning: 4
[ivoa]
dalDefaultLimit: 2000
dalHardLimit: 100000
RC

inputs=/var/gavo/inputs/gaiadr3
mkdir -p "$inputs"
"$python" .ci/tap_table.py "$data/fields/stars" "$inputs/q.rd" "$state/stars.csv"
chown -R dachsroot:gavo "$inputs"
chmod 644 "$state/stars.csv"
# DaCHS makes the table and its metadata from no rows at all; the rows come by COPY, which keeps every digit.
runuser -u dachsroot -- dachs imp gaiadr3/q >"$state/imp.log" 2>&1 || { cat "$state/imp.log"; exit 1; }
columns=$(head -1 "$state/stars.csv")
runuser -u dachsroot -- psql -q -v ON_ERROR_STOP=1 gavo \
    -c "\\copy gaiadr3.gaia_source ($columns) FROM '$state/stars.csv' WITH (FORMAT csv, HEADER)" \
    -c "ANALYZE gaiadr3.gaia_source"

setsid nohup dachs serve start -f >"$state/server.log" 2>&1 </dev/null &
echo $! >"$state/pid"
url=http://127.0.0.1:$port/tap
for _ in $(seq 150); do answers "$url" && break; sleep 0.2; done
answers "$url" || { tail -20 "$state/server.log"; exit 1; }
echo "$url" >"$state/url"
echo "TAP server: $url"
