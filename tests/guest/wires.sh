# Runs in the guest: a camera's clustered pictures on a display at the end of the wires. While the lines are recorded a picture
# takes ten seconds, so of a camera with one picture a second the display has every tenth; the files have all.
. /bin/common.sh
export HUEFLOW_EDGE__SPI__BOARD=st7789
plug 0
hueflow-edge doctor --spool /tmp/spool --display spi
echo "GUEST doctor ended with $?"
hueflow-edge run --source 'v4l2:vivid?width=320&height=180&fps=1&format=YUYV' --spool /tmp/spool --census-every 0 \
  --display png:/tmp/png --display spi --frames 60 2>&1
echo "GUEST wires ended with $?"
tar -c -f /dev/vdb -C /tmp/png .
sync
echo "GUEST look"
wait_for_host

# Now that nobody records the lines.
hueflow-edge run --source 'v4l2:vivid?width=320&height=180&fps=60&format=YUYV' --spool /tmp/spool --census-every 0 \
  --display spi --frames 120 2>&1 | sed 's/^/GUEST speed: /'
