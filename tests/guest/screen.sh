# Runs in the guest: a camera's clustered pictures on /dev/fb0, held still now and then so that the host can look at them.
. /bin/common.sh
feed_bars 3
hueflow-edge run --source 'v4l2:bars?width=640&height=360&format=MJPG' --spool /tmp/spool --census-every 0 --log-frames \
  --display png:/tmp/png --display fb:/dev/fb0 >/tmp/screen.log 2>&1 &
edge=$!
# Holds the edge still with another picture than at the last look, as the scene comes round again. The camera too: it would
# write over the picture that is just being read.
holds_another() {
  hold_still /tmp/screen.log
  newest=$(ls /tmp/png/*.png | tail -n 1)
  if cmp -s "$newest" /tmp/looked.png; then
    echo "GUEST looks again, as the scene is the same"
    kill -CONT $edge $feeds
    usleep 300000
    return 1
  fi
  cp "$newest" /tmp/looked.png
}
for look in 1 2 3 4; do
  wait_until "pictures" grep -q "frame ${look}[0-9]:" /tmp/screen.log || cat /tmp/screen.log
  wait_until "another picture than at the last look" holds_another
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
