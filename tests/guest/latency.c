// Latency: the time from the capture of a frame to the arrival of its event record at an MQTT subscriber on the same machine.
//
// Inputs are a broker's IPv4 address and port, a topic, and a number of records. At the start it prints "subscribed", at the end
// the median and the 99th percentile in milliseconds. The subscription has QoS 0. Capture and arrival are by this machine's wall
// clock, so the figure includes the way from the broker back to here. Exit code 1: the connection failed or ended.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// An event record has about 100 bytes; the topic has less than 100.
enum { RECORDS_MAX = 1000, PACKET_BYTES_MAX = 1024, CAPTURED_AT = 24, ENVELOPE_BYTES = 40 };

static int failed(const char *what) {
	perror(what);
	return 1;
}

static int64_t now_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int read_all(int fd, uint8_t *to, size_t bytes) {
	for (size_t done = 0; done < bytes;) {
		ssize_t n = read(fd, to + done, bytes - done);
		if (n <= 0) return -1;
		done += (size_t)n;
	}
	return 0;
}

// Reads a packet's body. Returns its length and its first byte in `head`; -1 at the end and for a packet that is too long.
static int read_packet(int fd, uint8_t *head, uint8_t *body) {
	size_t bytes = 0, shift = 0;
	uint8_t part;
	if (read_all(fd, head, 1)) return -1;
	do {
		if (shift > 21 || read_all(fd, &part, 1)) return -1;
		bytes |= (size_t)(part & 127) << shift;
		shift += 7;
	} while (part & 128);
	return bytes > PACKET_BYTES_MAX || read_all(fd, body, bytes) ? -1 : (int)bytes;
}

static int ascending(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int main(int count, char **args) {
	static int64_t late_us[RECORDS_MAX];
	int records = count == 5 ? atoi(args[4]) : 0;
	size_t topic_bytes = count == 5 ? strlen(args[3]) : 0;
	if (records < 1 || records > RECORDS_MAX || topic_bytes < 1 || topic_bytes > 100) {
		fprintf(stderr, "latency ADDRESS PORT TOPIC RECORDS   (at most %d records)\n", RECORDS_MAX);
		return 2;
	}
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(args[2]))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	if (inet_pton(AF_INET, args[1], &at.sin_addr) != 1 || fd < 0) return failed(args[1]);
	if (connect(fd, (struct sockaddr *)&at, sizeof at)) return failed("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	// MQTT 3.1.1, a clean session, no keep-alive, and the client id "latency".
	static const uint8_t hello[] = "\x10\x13\0\4MQTT\4\2\0\0\0\7latency";
	uint8_t subscribe[128] = {0x82, (uint8_t)(5 + topic_bytes), 0, 1, 0, (uint8_t)topic_bytes};
	memcpy(subscribe + 6, args[3], topic_bytes);
	if (write(fd, hello, sizeof hello - 1) < 0 || write(fd, subscribe, 7 + topic_bytes) < 0) return failed("write");
	static uint8_t body[PACKET_BYTES_MAX];
	for (int seen = 0; seen < records;) {
		uint8_t head;
		int bytes = read_packet(fd, &head, body);
		int64_t arrived_us = now_us();
		if (bytes < 0) return failed("the connection");
		if (head >> 4 == 9) {
			printf("subscribed\n");
			fflush(stdout);
		}
		// A publish: the topic's length, the topic, and the record, which begins with its envelope.
		int start = 2 + (body[0] << 8 | body[1]);
		if (head >> 4 != 3 || bytes < start + ENVELOPE_BYTES) continue;
		uint64_t captured_us = 0;
		for (int i = 7; i >= 0; i--) captured_us = captured_us << 8 | body[start + CAPTURED_AT + i];
		late_us[seen++] = arrived_us - (int64_t)captured_us;
	}
	qsort(late_us, (size_t)records, sizeof *late_us, ascending);
	int last = (records * 99 + 99) / 100 - 1;
	printf("%d events from capture over MQTT and back: median %.1f ms, p99 %.1f ms\n", records,
	       (double)late_us[records / 2] / 1e3, (double)late_us[last] / 1e3);
	return 0;
}
