BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE buffer_tags (
	buffer_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (buffer_id, "key"), 
	FOREIGN KEY(buffer_id) REFERENCES buffers (id) ON DELETE CASCADE
);
INSERT INTO "buffer_tags" VALUES('dkd4z2yqdzcvyniawozlfpy47u','name','written');
INSERT INTO "buffer_tags" VALUES('dkd4z2yqdzcvyniawozlfpy47u','site','north');
INSERT INTO "buffer_tags" VALUES('7jskgevbjqd4pqx7bauetf54dy','name','empty');
INSERT INTO "buffer_tags" VALUES('7jskgevbjqd4pqx7bauetf54dy','site','south');
INSERT INTO "buffer_tags" VALUES('4c2isqnnopo4o7jkxpxgdc7s7q','name','deleted');
INSERT INTO "buffer_tags" VALUES('4c2isqnnopo4o7jkxpxgdc7s7q','site','north');
INSERT INTO "buffer_tags" VALUES('33wpt3kyymaopawhgi5kbbcg6u','name','cut');
INSERT INTO "buffer_tags" VALUES('pqin3qqzgw2vcxgmoryill5g6u','bufferName','output');
INSERT INTO "buffer_tags" VALUES('pqin3qqzgw2vcxgmoryill5g6u','name','made');
CREATE TABLE buffers (
	id TEXT NOT NULL, 
	location TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	is_soft_deleted BOOLEAN NOT NULL, 
	expires_at BIGINT, 
	is_ready BOOLEAN NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "buffers" VALUES('dkd4z2yqdzcvyniawozlfpy47u','local',1795884991155852,0,NULL,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "buffers" VALUES('7jskgevbjqd4pqx7bauetf54dy','local',1795884991564865,0,4387884991563305,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "buffers" VALUES('4c2isqnnopo4o7jkxpxgdc7s7q','local',1795884991746543,1,4387884992004453,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "buffers" VALUES('33wpt3kyymaopawhgi5kbbcg6u','local',1795884991847281,0,NULL,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "buffers" VALUES('pqin3qqzgw2vcxgmoryill5g6u','local',1795884992023456,0,NULL,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
CREATE TABLE codespecs (
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (name, version)
);
INSERT INTO "codespecs" VALUES('tested',1,1795884990968241,0,'{"kind":"job","image":"here","command":["true"]}');
INSERT INTO "codespecs" VALUES('tested',2,1795884990989186,0,'{"kind":"job","image":"here","command":["false"]}');
CREATE TABLE idempotency_keys (
	"key" TEXT NOT NULL, 
	run_id BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "idempotency_keys" VALUES('the key',1,1795884992031624);
CREATE TABLE run_tags (
	run_id BIGINT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (run_id, "key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "run_tags" VALUES(1,'kind','key');
INSERT INTO "run_tags" VALUES(2,'kind','failed');
CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	body TEXT NOT NULL, 
	status TEXT NOT NULL, 
	status_reason TEXT, 
	running_count INTEGER, 
	created_at BIGINT NOT NULL, 
	started_at BIGINT, 
	finished_at BIGINT, 
	logs_archived_at BIGINT, 
	final BOOLEAN NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL
);
INSERT INTO "runs" VALUES(1,'{"job":{"codespec":{"kind":"job","image":"here","command":["sh","-c","echo made; cat <$INPUT_PIPE >$OUTPUT_PIPE"],"buffers":{"inputs":["input"],"outputs":["output"]}},"buffers":{"input":"dkd4z2yqdzcvyniawozlfpy47u","output":"pqin3qqzgw2vcxgmoryill5g6u"},"tags":{"name":"made"},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Succeeded',NULL,NULL,1795884992031624,1795884992061249,1795884992090752,1795884992099336,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "runs" VALUES(2,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Failed','Main exited with code 1',NULL,1795884992334967,1795884992346805,1795884992367653,1795884992407440,1,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "runs" VALUES(3,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Running',NULL,NULL,1795884992334968,1795884992334969,NULL,NULL,0,0,'0c234fbfe7d34d62cfecf066470c0407',1);
CREATE TABLE settings (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "settings" VALUES('installation','0c234fbfe7d34d62cfecf066470c0407');
CREATE TABLE transfers (
	id TEXT NOT NULL, 
	buffer TEXT NOT NULL, 
	run BIGINT, 
	state TEXT NOT NULL, 
	reason TEXT, 
	block_size INTEGER NOT NULL, 
	flush_interval FLOAT NOT NULL, 
	bytes BIGINT NOT NULL, 
	blocks BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "transfers" VALUES('ae4df4e449dda655d96edbaef04ae884','dkd4z2yqdzcvyniawozlfpy47u',NULL,'complete',NULL,4194304,1.0,3890,2,1795884991346730,1795884991352464,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "transfers" VALUES('6b07446f878c40d2a8b28176743eeeb8','pqin3qqzgw2vcxgmoryill5g6u',1,'complete',NULL,4194304,1.0,3890,2,1795884992078367,1795884992088163,0,'0c234fbfe7d34d62cfecf066470c0407',1);
INSERT INTO "transfers" VALUES('00112233445566778899aabbccddeeff','33wpt3kyymaopawhgi5kbbcg6u',NULL,'running',NULL,4194304,1.0,0,0,1795884991847281,NULL,0,'0c234fbfe7d34d62cfecf066470c0407',1);
CREATE INDEX buffers_by_age ON buffers (is_soft_deleted, created_at DESC, id DESC);
CREATE INDEX buffers_by_expiry ON buffers (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX runs_by_status ON runs (status, created_at DESC, id DESC);
CREATE INDEX runs_by_age ON runs (created_at DESC, id DESC);
CREATE INDEX runs_unfinished ON runs (id) WHERE final = 0;
CREATE INDEX transfers_unfinished ON transfers (id) WHERE finished_at IS NULL;
CREATE INDEX transfers_by_age ON transfers (created_at DESC, id DESC);
CREATE INDEX buffer_tags_by_value ON buffer_tags ("key", value, buffer_id);
CREATE INDEX run_tags_by_value ON run_tags ("key", value, run_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
COMMIT;
