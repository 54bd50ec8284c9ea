# For the jobs, which read this first: the kernel's command line, cameras, and waiting.
fact() { sed -n "s/.*\bhueflow\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
plug() { insmod /lib/modules/vivid.ko n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr="$1"; }
# feed_bars FPS: a camera that gives the pictures of /dev/vda as JPEG, /dev/video9. It writes over what has not been read in
# time, which no real one does: FPS must be few enough for an emulator.
feed_bars() {
  mkdir -p /tmp/bars
  tar -x -f /dev/vda -C /tmp/bars
  insmod /lib/modules/v4l2loopback.ko video_nr=9 exclusive_caps=1 card_label=bars
  feed /dev/video9 640 360 "$1" /tmp/bars/*.jpg &
  feeds=$!
}
# wait_until WHAT COMMAND...: looks every tenth of a second, for a minute.
wait_until() {
  what=$1
  shift
  tries=600
  until "$@"; do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then echo "GUEST waited in vain for $what"; return 1; fi
    usleep 100000
  done
}
# hold_still LOG: stops the camera of feed_bars, then the edge, whose log is LOG, when it has shown all that it was given. Each
# display has its own pace: without that the screen could be ahead of the files in /tmp/png.
hold_still() {
  kill -STOP $feeds
  wait_until "the last picture to be shown" has_shown_all "$1"
  kill -STOP $edge
}
has_shown_all() {
  seen=$(grep -c 'colours detected' "$1")
  usleep 1000000
  [ "$(grep -c 'colours detected' "$1")" = "$seen" ] && [ "$(ls /tmp/png | grep -c 'png$')" = "$seen" ]
}
# Messages of the host on the console.
wait_for_host() { read -r _ </dev/console; }
now() { cut -d ' ' -f 1 /proc/uptime; }
# waits_for NAME SOURCE: a source that cannot be opened is logged once and tried again; a stop ends that.
waits_for() {
  hueflow-edge run --source "$2" --spool "/tmp/spool-$1" 2>"/tmp/$1.log" &
  waits=$!
  wait_until "the log to have what is wrong with $2" grep -q 'is tried again' "/tmp/$1.log"
  kill $waits
  wait $waits
  echo "GUEST $1 ended with $?"
  cat "/tmp/$1.log"
}
