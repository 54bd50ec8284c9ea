# Runs in the guest: a camera's clustered pictures on the screen by mode setting, upright and turned, held still so that the
# host can look at them; then what the screen shows when nobody draws on it any more.
. /bin/common.sh
seq 1 20 >/dev/tty1
echo "GUEST console"
wait_for_host
feed_bars 3
look=0
for turn in "0 none" "90 none" "270 horizontal"; do
  look=$((look + 1))
  export HUEFLOW_EDGE__DISPLAY__ROTATE=${turn% *} HUEFLOW_EDGE__DISPLAY__FLIP=${turn#* }
  rm -rf /tmp/png /tmp/kms.log
  hueflow-edge run --source 'v4l2:bars?width=640&height=360&format=MJPG' --spool /tmp/spool --census-every 0 --log-frames \
    --display png:/tmp/png --display kms >/tmp/kms.log 2>&1 &
  edge=$!
  wait_until "pictures" grep -q "frame 10:" /tmp/kms.log || cat /tmp/kms.log
  if [ $look = 1 ]; then
    # Beside a program that drives the screen already: clustering goes on, and the display is tried again.
    hueflow-edge run --source synthetic:64x48@10 --spool /tmp/second --display kms --frames 1
    echo "GUEST second ended with $?"
  fi
  # The camera too: it would write over the picture that is just being read.
  hold_still /tmp/kms.log
  tar -c -f /dev/vdb -C /tmp/png .
  sync
  echo "GUEST look $look"
  wait_for_host
  kill -CONT $edge $feeds
  kill -INT $edge
  wait $edge
  echo "GUEST kms $look ended with $?"
  grep -v ' frame ' /tmp/kms.log
done
kill $feeds
echo "GUEST nobody draws"
wait_for_host
unset HUEFLOW_EDGE__DISPLAY__ROTATE HUEFLOW_EDGE__DISPLAY__FLIP

hueflow-edge doctor --spool /tmp/spool --display auto
echo "GUEST doctor ended with $?"

# As fast as it goes, with nobody who wants every picture; auto takes the screen.
plug 0
hueflow-edge run --source 'v4l2:vivid?width=640&height=360&fps=40&format=YUYV' --spool /tmp/spool --census-every 0 \
  --display auto --frames 100 </dev/null 2>&1 | sed 's/^/GUEST speed: /'
