# Runs in the guest: a camera's clustered pictures on /dev/fb0, held still now and then so that the host can look at them.
. /bin/common.sh
feed_bars 3
hueflow-edge run --source 'v4l2:bars?width=640&height=360&format=MJPG' --spool /tmp/spool --census-every 0 --log-frames \
  --display png:/tmp/png --display fb:/dev/fb0 >/tmp/screen.log 2>&1 &
edge=$!
for look in 1 2 3 4; do
  wait_until "pictures" grep -q "frame ${look}[0-9]:" /tmp/screen.log || cat /tmp/screen.log
  # The camera too: it would write over the picture that is just being read.
  hold_still /tmp/screen.log
  tar -c -f /dev/vdb -C /tmp/png .
  sync
  echo "GUEST look $look"
  wait_for_host
  kill -CONT $edge $feeds
done
kill -INT $edge
wait $edge
echo "GUEST screen ended with $?"
kill $feeds
grep -v ' frame ' /tmp/screen.log

hueflow-edge doctor --spool /tmp/spool --display fb:/dev/fb0
echo "GUEST doctor ended with $?"

# As fast as it goes, with nobody who wants every picture.
plug 0
hueflow-edge run --source 'v4l2:vivid?width=640&height=360&fps=40&format=YUYV' --spool /tmp/spool --census-every 0 \
  --display fb:/dev/fb0 --frames 100 2>&1 | sed 's/^/GUEST speed: /'
