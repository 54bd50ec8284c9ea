# Runs in the guest: formats of grabbers; two cameras of the same name, one of which is unplugged and plugged in again under a
# running edge; a node of several planes; and an HDMI input with a signal, with another one, and without.
. /bin/common.sh
args() { echo run --census-every 0 --spool "/tmp/spool-$1" --source "$2" --display "png:/tmp/png/$1" --frames "$3" --log-frames; }
edge() { hueflow-edge $(args "$@"); }
vivid() { insmod /lib/modules/vivid.ko node_types=0x1,0x1 num_inputs=1,1 "$@"; }

vivid n_devs=2 input_types=0,0 vid_cap_nr=0,2
for format in UYVY NV21 BGR3; do
  name=$(echo $format | tr A-Z a-z)
  edge $name "v4l2:/dev/video0?width=640&height=360&fps=40&format=$format" 8 >/tmp/$name.log 2>&1
  echo "GUEST $name ended with $?"
  cat /tmp/$name.log
done
tar -c -f /dev/vdb -C /tmp/png .
sync
echo "GUEST look"
wait_for_host

hueflow-edge $(args left 'v4l2:vivid?width=320&height=180&fps=10&format=YUYV' 60) >/tmp/left.log 2>&1 &
left=$!
wait_until "pictures of the left one" grep -q 'frame 10:' /tmp/left.log
hueflow-edge $(args right 'v4l2:/dev/video2?width=320&height=180&fps=10&format=YUYV' 4000) >/tmp/right.log 2>&1 &
right=$!
wait_until "pictures of the right one" grep -q 'frame 10:' /tmp/right.log
# Unplugged, as far as every program can see, until the last one has let go of it: this shell holds it.
exec 9</dev/video0
control /dev/video0 Disconnect 1
wait_until "the left one to be missed" grep -q 'is not there; another camera of that name' /tmp/left.log
from=$(sed -n 's/.* frame \([0-9]*\):.*/\1/p' /tmp/right.log | tail -1)
wait_until "more pictures of the right one" grep -q "frame $((from + 20)):" /tmp/right.log
kill -INT $right
wait $right
echo "GUEST right ended with $?"
# Now that the right one is free, it is still not taken for the left one.
passed() { now | awk -v from="$1" -v s="$2" '{ exit !($1 - from >= s) }'; }
from=$(now)
wait_until "longer than it takes to open a camera" passed "$from" 7
echo "GUEST while it is away: $(grep -c 'is back after' /tmp/left.log) times back"
exec 9<&-
wait_until "the left one to be back" grep -q 'is back after' /tmp/left.log
wait $left
echo "GUEST left ended with $?"
grep -v ' frame ' /tmp/left.log | sed 's/^/LEFT /'
grep -v ' frame ' /tmp/right.log | sed 's/^/RIGHT /'
rmmod vivid

vivid n_devs=2 input_types=0,0 vid_cap_nr=0,2 multiplanar=2,1
hueflow-edge list-cameras
waits_for planes v4l2:/dev/video0
rmmod vivid

vivid n_devs=1 input_types=3 vid_cap_nr=0
edge hdmi 'v4l2:vivid?format=UYVY' 2
echo "GUEST hdmi ended with $?"
# Another signal than the one that the grabber was set to.
control /dev/video0 "DV Timings" 2
control /dev/video0 "DV Timings Signal Mode" 4
edge other 'v4l2:vivid?format=UYVY' 2
echo "GUEST other ended with $?"
control /dev/video0 "DV Timings Signal Mode" 1
waits_for dark 'v4l2:vivid?format=UYVY'
