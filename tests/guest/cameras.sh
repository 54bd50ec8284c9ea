# Runs in the guest: vivid, the kernel's own test camera, in several formats and with a step that stalls, and a camera of JPEGs; then vivid unplugged
# under a running edge and plugged in again under another number. Says what it does on the console, where the test reads it.
. /bin/common.sh
port=$(fact mqtt)
edge() {
  device=$1
  shift
  hueflow-edge run --site test --device "$device" --mqtt "mqtt://10.0.2.2:$port" --spool "/tmp/spool-$device" \
    --method octree --census-every 0 "$@" >"/tmp/$device.log" 2>&1
}
hueflow-bare | sed 's/^/GOLDEN /'
plug 0
echo "GUEST list-cameras"
hueflow-edge list-cameras
echo "GUEST list-cameras ended with $?"
hueflow-edge doctor --write --config /tmp/edge.toml --site test --device doctor --mqtt "mqtt://10.0.2.2:$port" \
  --spool /tmp/spool-doctor --source 'v4l2:/dev/video0?width=640&height=360&fps=40'
echo "GUEST doctor ended with $?"

for format in YUYV NV12 RGB3; do
  name=$(echo $format | tr A-Z a-z)
  edge "$name" --source "v4l2:vivid?width=640&height=360&fps=40&format=$format" --frames 60
  echo "GUEST $name ended with $?"
  cat "/tmp/$name.log"
done

# A step that stalls for longer than the driver has buffers: one picture a second, and eight seconds. The capture times are
# the guest's own only if its clock is synchronised.
mkdir -p /run/systemd/timesync
touch /run/systemd/timesync/synchronized
edge stall --source 'v4l2:vivid?width=320&height=180&fps=1&format=YUYV' --frames 9 --log-frames &
stall=$!
wait_until "4 frames" grep -q 'frame 3:' /tmp/stall.log
kill -STOP $(pidof hueflow-edge)
from=$(now)
since=$(date +%s)
passed() { now | awk -v from="$from" -v s="$1" '{ exit !($1 - from >= s) }'; }
wait_until "a stall" passed 8
echo "GUEST stalled from $since until $(date +%s)"
kill -CONT $(pidof hueflow-edge)
wait $stall
echo "GUEST stall ended with $?"
cat /tmp/stall.log
rm /run/systemd/timesync/synchronized

# A lamp that is switched on and off, each time when the edge has seen the last change.
cat >/tmp/events.toml <<END
[[colour]]
name = "red-lamp"
rgb = "#fe0000"
tolerance = 15
[[event]]
name = "lamp"
when = "share(red-lamp, picture) > 0.5"
END
changes=$(fact changes) black=5 red=7
latency 10.0.2.2 "$port" hueflow/test/events/event "$changes" >/tmp/latency.log &
latency=$!
wait_until "the subscriber" grep -q subscribed /tmp/latency.log
control /dev/video0 "Test Pattern" $black
edge events --config /tmp/events.toml --source 'v4l2:vivid?width=640&height=360&fps=40&format=YUYV' --video off --log-frames &
edge=$!
wait_until "a frame" grep -q 'frame 3:' /tmp/events.log
seen() { [ "$(grep -c 'event lamp \(begins\|ends\)' /tmp/events.log)" = "$1" ]; }
for n in $(seq 1 "$changes"); do
  if [ $((n % 2)) = 1 ]; then pattern=$red; else pattern=$black; fi
  control /dev/video0 "Test Pattern" $pattern
  wait_until "change $n" seen "$n"
done
wait $latency
echo "GUEST speed: $(grep events /tmp/latency.log)"
kill -INT $(pidof hueflow-edge)
wait $edge
echo "GUEST events ended with $?"
control /dev/video0 "Test Pattern" 0

feed_bars 4
edge mjpg --source "v4l2:bars?width=640&height=360&format=MJPG" --frames 60
echo "GUEST mjpg ended with $?"
cat /tmp/mjpg.log
kill $feeds
wait_until "the other camera to be free" rmmod v4l2loopback 2>/dev/null

# A node that is none; one that another program uses comes below.
waits_for no-device v4l2:/dev/video33

# systemd's watchdog, as it were, with less patience.
patience /tmp/notify 3000 >/tmp/watchdog.log &
watchdog=$!
wait_until "the watchdog" test -S /tmp/notify
export NOTIFY_SOCKET=/tmp/notify WATCHDOG_USEC=3000000
edge replug --source 'v4l2:/dev/video0?width=320&height=180&fps=10&format=YUYV&gain=77&exposure=100' --frames 110 --log-frames &
edge=$!
unset NOTIFY_SOCKET WATCHDOG_USEC
wait_until "30 frames" grep -q 'frame 30:' /tmp/replug.log
process=$(pidof hueflow-edge)
waits_for busy 'v4l2:/dev/video0?width=640&height=360'
echo "GUEST unplugging $(ls -d /dev/video[07])"
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
wait_until "the module to be free" rmmod vivid 2>/dev/null
from=$(now)
wait_until "longer than the watchdog waits" passed 6
plug 7
from=$(now)
echo "GUEST plugged in again: $(ls -d /dev/video[07])"
wait_until "the picture to be back" grep -q 'is back after' /tmp/replug.log
echo "GUEST back within $(now | awk -v from="$from" '{ print $1 - from }') s"
echo "GUEST locked: $(hueflow-edge list-cameras | grep locked)"
if [ "$process" = "$(pidof hueflow-edge)" ]; then echo "GUEST the same process as before"; fi
wait $edge
echo "GUEST replug ended with $?"
grep -v ' frame ' /tmp/replug.log
kill $watchdog
wait $watchdog
echo "GUEST watchdog: $(cat /tmp/watchdog.log)"
