#!/usr/bin/env bash
# Shows on a real engine that the stack of docker-compose.yml does what it promises:
#
#   docker/check.sh            needs docker with compose, nothing else; takes about four minutes
#   CHECK_KEEP=1 docker/check.sh    leaves the stack up, to look at it
#
# It has a project, ports and volumes of its own and takes them away at the end. One line per point,
# "ok" or "FAILED"; the exit code is 0 when all are ok.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export COMPOSE_PROJECT_NAME=processor-check-$$
ports=$((20000 + RANDOM % 10000))
export KAFKA_PORT=$ports REDIS_PORT=$((ports + 1)) PROMETHEUS_PORT=$((ports + 2))
# More than will be sent: the generator is stopped when all has been done to the stack.
export TRIPS=${TRIPS:-2000000} TRIPS_PER_SECOND=${TRIPS_PER_SECOND:-1000} TRIPS_SEED=${TRIPS_SEED:-7}

failed=0
work=$(mktemp -d)
chmod 755 "$work" # the containers' user reads in it

compose() { timeout "${limit:-120}" docker compose "$@"; }
say() { printf '%-6s %s\n' "$1" "$2"; }
ok() { say ok "$1"; }
fail() {
  failed=1
  say FAILED "$1"
  [ -z "${2-}" ] || sed 's/^/       /' <<<"$2"
}
check() { # check NAME COMMAND...: a point, with what the command said if it failed
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then ok "$name"; else fail "$name" "$said"; fi
}
until_s() { # until_s SECONDS COMMAND...: try again until it succeeds or the time is over
  local end=$((SECONDS + $1)) said
  shift
  until said=$("$@" 2>&1); do
    if ((SECONDS >= end)); then
      printf '%s\n' "$said"
      return 1
    fi
    sleep 1
  done
  [ -z "$said" ] || printf '%s\n' "$said"
}

finish() {
  local code=$?
  trap - EXIT
  if [ $failed != 0 ]; then
    compose logs --no-color --timestamps >"$work/logs" 2>&1
    compose ps -a >>"$work/logs" 2>&1
    say "" "the containers' logs: $work/logs"
  fi
  if [ -z "${CHECK_KEEP-}" ]; then
    compose down --volumes --timeout 40 >"$work/down" 2>&1 || fail "taken down" "$(cat "$work/down")"
  fi
  [ $failed != 0 ] || rm -rf "$work"
  [ $code = 0 ] && exit $failed
  exit "$code"
}
trap finish EXIT
trap 'failed=1; exit 130' INT TERM

kafka() { # a tool of Kafka's, in the broker's container
  local tool=$1
  shift
  compose exec -T -e KAFKA_HEAP_OPTS=-Xmx256m kafka "/opt/kafka/bin/kafka-$tool.sh" \
    --bootstrap-server kafka:9092 "$@"
}
container() { compose ps -q "$1" | head -1; }
state() { docker inspect -f "{{.State.$2}}" "$1"; }
end_of() { # the number of records and marks in a topic
  kafka get-offsets --topic "$1" --time latest | awk -F: '{n += $3} END {print n + 0}'
}
beyond() { # beyond TOPIC N: the topic has more than N
  local n
  n=$(end_of "$1") && echo "$1 is at $n, not beyond $2" && ((n > $2))
}

loopback_only() {
  local ids found
  ids=$(compose ps -q) || return 1
  found=$(docker inspect -f '{{range $p, $b := .NetworkSettings.Ports}}{{range $b}}{{.HostIp}} {{end}}{{end}}' $ids | tr ' ' '\n' | sort -u | grep .)
  echo "$found"
  [ "$found" = 127.0.0.1 ]
}
not_root() {
  local service user
  for service in enrich popular generator; do
    user=$(docker inspect -f '{{.Config.User}}' "$(container $service)")
    grep -Eq '^[1-9][0-9]*:[1-9][0-9]*$' <<<"$user" || { echo "$service: user '$user'"; return 1; }
  done
}
# A question to Prometheus, answered as "labels value" lines, asked from inside the network.
ask='
import json, sys, urllib.parse, urllib.request as r
url = "http://prometheus:9090/api/v1/query?" + urllib.parse.urlencode({"query": sys.argv[1]})
answer = json.load(r.build_opener(r.ProxyHandler({})).open(url, timeout=5))
for row in answer["data"]["result"]:
    print(*sorted(row["metric"].values()), row["value"][1])
'
prometheus() { compose exec -T generator python -c "$ask" "$1"; }
scraped() {
  local up counted
  up=$(prometheus 'sum by (service) (up{job="processor"})' | sort)
  counted=$(prometheus 'count by (service) (processor_records_in_total{job="processor"} > 0)' | sort)
  printf 'up:\n%s\ncounting records:\n%s\n' "$up" "$counted"
  [ "$up" = $'enrich 2\npopular 2' ] && [ "$counted" = "$up" ]
}

holders() { # holders GROUP: partitions with a consumer, and the number of consumers
  # The fields: GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
  kafka consumer-groups --describe --group "$1" |
    awk -v g="$1" '$1 == g && $7 != "-" {p++; if (!($7 in c)) {c[$7]; n++}} END {print p + 0, n + 0}'
}
held_by() {
  local found
  found=$(holders "$1")
  echo "$1: '$found' partitions and consumers, not '4 $2'"
  [ "$found" = "4 $2" ]
}
shared() { held_by uber-enrich 2 && held_by uber-popular 2; }
taken_over() { held_by uber-enrich 1 && held_by uber-popular 1; }

kill_one_each() {
  docker kill -s KILL "$(container enrich)" "$(container popular)"
}
bring_back() { limit=180 compose up --detach --no-deps --no-recreate --no-build --wait enrich popular; }
positions() { # positions GROUP: partition, committed position, end
  kafka consumer-groups --describe --group "$1" | awk -v g="$1" '$1 == g {print $3, $4, $5}'
}
passed() { # passed GROUP: each partition is committed beyond the end it had, or got nothing since
  positions "$1" | awk -v g="$1" '
    NR == FNR {end[$1] = $3; next}
    $2 == "-" || $2 < end[$1] {if ($3 != end[$1]) {behind = 1; print g, $0, "not beyond", end[$1]}}
    {n++}
    END {exit behind || n != 4}' "$work/ends-$1" -
}
moves_on() { # both stages, all of their partitions
  local group
  for group in uber-enrich uber-popular; do
    positions $group >"$work/ends-$group" && until_s "$1" passed $group || return 1
  done
}
again_healthy() { # again_healthy SERVICE
  compose restart "$1" && until_s 120 healthy "$1" && until_s 120 healthy enrich &&
    until_s 120 healthy popular && until_s 120 shared && moves_on 90
}
healthy() {
  local id
  for id in $(compose ps -a -q "$1"); do
    state "$id" Health.Status | grep -qx healthy || { echo "$1 is $(state "$id" Health.Status)"; return 1; }
  done
}
drained() { # drained SERVICE: docker stop ends one replica by itself, well, and in time
  local id code before=$SECONDS
  id=$(container "$1")
  timeout 60 docker stop --time 40 "$id" >/dev/null || return 1
  code=$(state "$id" ExitCode)
  echo "exit code $code after $((SECONDS - before)) s"
  docker logs --tail 5 "$id" 2>&1
  [ "$code" = 0 ]
}

generated() { # stops the generator, which then says how many trips it has sent
  local id
  id=$(compose ps -a -q generator)
  [ "$(state "$id" Running)" = true ] || echo "it had ended before"
  timeout 100 docker stop --time 90 "$id" >/dev/null
  echo "exit code $(state "$id" ExitCode)"
  docker logs --tail 5 "$id" 2>&1
  docker logs "$id" 2>&1 | sed -nE 's/^([0-9]+) trips are in .*/\1/p' >"$work/sent"
  [ "$(state "$id" ExitCode)" = 0 ] && [ -s "$work/sent" ]
}
read_topic() { # all committed records of a topic, the values only
  kafka console-consumer --topic "$1" --from-beginning --isolation-level read_committed \
    --timeout-ms 8000 >"$work/$1" 2>"$work/$1.err"
  # It ends with a time-out when there is no more, which is as it should be.
  grep -q TimeoutException "$work/$1.err" || { cat "$work/$1.err"; return 1; }
}
exact() {
  local topic
  for topic in trips trips-enriched popular-clusters; do read_topic $topic || return 1; done
  docker run --rm --network none --entrypoint python -v "$work:/topics:ro" \
    -v "$PWD/docker/compare.py:/compare.py:ro" processor:local /compare.py "$(cat "$work/sent")" /topics
}
no_dead_letters() {
  local n
  n=$(($(end_of trips-dead-letters) + $(end_of trips-enriched-dead-letters)))
  echo "$n dead letters"
  [ $n = 0 ]
}
stopped_clean() {
  local id code=0
  local ids
  ids=$(compose ps -a -q enrich popular)
  limit=90 compose stop enrich popular >/dev/null 2>&1
  for id in $ids; do
    [ "$(state "$id" ExitCode)" = 0 ] || { echo "$id: exit code $(state "$id" ExitCode)"; code=1; }
  done
  return $code
}

limit=900 compose build >"$work/build" 2>&1 || { fail "the image is built" "$(tail -20 "$work/build")"; exit 1; }
ok "the image is built"
limit=300 compose up --detach --no-build --wait --wait-timeout 240 >"$work/up" 2>&1 ||
  { fail "up --wait: everything is healthy" "$(tail -20 "$work/up")"; exit 1; }
ok "up --wait: everything is healthy"

check "ports are bound to loopback only" loopback_only
check "the processor's containers run as a numeric user, not root" not_root
check "two replicas share each stage's partitions" until_s 120 shared
check "trips come out of popular-clusters" until_s 120 beyond popular-clusters 0
check "Prometheus has the metrics of all four workers" until_s 120 scraped
check "one worker of each stage is killed" kill_one_each
check "the killed workers' partitions are taken over" until_s 120 taken_over
check "both stages go on with one worker each" moves_on 90
check "the killed workers come back" bring_back
check "they share the partitions again" until_s 120 shared
check "Kafka is restarted, and both stages go on" again_healthy kafka
check "Redis is restarted, and both stages go on" again_healthy redis
for stage in enrich popular; do check "SIGTERM drains a worker of $stage" drained $stage; done
check "the stopped workers come back" bring_back
check "the generator is stopped" generated
check "every trip once in trips-enriched, exact counts in popular-clusters" until_s 180 exact
check "no dead letters" no_dead_letters
check "all workers drain" stopped_clean
check "still exact when all has come to rest" exact
