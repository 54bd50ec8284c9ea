# Runs in the guest: vivid, the kernel's own test camera, in several formats; then unplugged under a running edge and
# plugged in again under another number. Says what it does on the console, where the test reads it.
port=$(sed -n 's/.*\bhueflow\.mqtt=\([0-9]*\).*/\1/p' /proc/cmdline)
plug() { insmod /lib/modules/vivid.ko n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr="$1"; }
edge() {
  device=$1
  shift
  hueflow-edge run --site test --device "$device" --mqtt "mqtt://10.0.2.2:$port" --spool "/tmp/spool-$device" \
    --method octree --census-every 0 "$@" >"/tmp/$device.log" 2>&1
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

plug 0
echo "GUEST list-cameras"
hueflow-edge list-cameras
echo "GUEST list-cameras ended with $?"

for format in YUYV NV12 RGB3; do
  name=$(echo $format | tr A-Z a-z)
  edge "$name" --source "v4l2:vivid?width=640&height=360&fps=40&format=$format" --frames 60
  echo "GUEST $name ended with $?"
  cat "/tmp/$name.log"
done

# Said before it is tried: a node that is none, and one that another program uses.
hueflow-edge run --source v4l2:/dev/video9 --spool /tmp/spool-none
echo "GUEST no-device ended with $?"

edge replug --source 'v4l2:/dev/video0?width=320&height=180&fps=10&format=YUYV' --frames 80 --log-frames &
edge=$!
wait_until "30 frames" grep -q 'frame 30:' /tmp/replug.log
hueflow-edge run --source 'v4l2:/dev/video0?width=640&height=360' --spool /tmp/spool-busy
echo "GUEST busy ended with $?"
echo "GUEST unplugging"
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
wait_until "the module to be free" rmmod vivid 2>/dev/null
plug 7
echo "GUEST plugged in again: $(ls /dev/video*)"
wait $edge
echo "GUEST replug ended with $?"
grep -v ' frame ' /tmp/replug.log
