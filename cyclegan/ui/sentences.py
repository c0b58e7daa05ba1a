"""The library's sentences about what went wrong, in Korean.

The library raises English sentences with names and numbers in them, for programs, logs and the command line alike. A
page that shows one to a visitor looks it up here. `tests/ui/test_sentences.py` collects what the library can raise and
fails for a sentence that is missing, so whoever adds a sentence is told to add its Korean.
"""

from __future__ import annotations

import functools
import re

KOREAN: tuple[tuple[str, str], ...] = (
    # images
    ("{name} is empty (0 bytes): copy or download it again",
     "{name} 파일은 비어 있습니다(0바이트). 다시 복사하거나 내려받으세요"),
    ("{name} does not exist: check the name and the folder",
     "{name} 파일이 없습니다. 이름과 폴더를 확인하세요"),
    ("{name} may not be read: change the file's permissions",
     "{name} 파일은 읽기 권한이 없습니다. 파일 권한을 바꾸세요"),
    ("{name} does not fit in memory: make it smaller first",
     "{name} 파일은 메모리에 다 들어가지 않습니다. 먼저 크기를 줄이세요"),
    ("{name} is truncated or damaged: copy or download it again",
     "{name} 파일은 잘렸거나 손상되었습니다. 다시 복사하거나 내려받으세요"),
    ("{name} can't be read ({reason}): copy or download it again",
     "{name} 파일을 읽을 수 없습니다({reason}). 다시 복사하거나 내려받으세요"),
    ("{name} is damaged ({reason}): copy or download it again",
     "{name} 파일은 손상되었습니다({reason}). 다시 복사하거나 내려받으세요"),
    ("{name} is a HEIC picture, which can't be read here: save it as PNG or JPEG",
     "{name} 파일은 여기에서 읽을 수 없는 HEIC 사진입니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} is an AVIF picture, which can't be read here: save it as PNG or JPEG",
     "{name} 파일은 여기에서 읽을 수 없는 AVIF 사진입니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} is a video, not a picture: extract its frames as PNG or JPEG",
     "{name} 파일은 사진이 아니라 동영상입니다. 프레임을 PNG나 JPEG 형식으로 뽑아내세요"),
    ("{name} is an SVG drawing, which has no pixels: save it as PNG or JPEG",
     "{name} 파일은 픽셀이 없는 SVG 그림입니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} is a document, not a picture: save it as PNG or JPEG",
     "{name} 파일은 사진이 아니라 문서입니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} is a Git LFS pointer, not the picture itself: fetch it with git lfs pull",
     "{name} 파일은 사진 자체가 아니라 Git LFS 포인터입니다. git lfs pull로 사진을 받으세요"),
    ("{name} is not a picture that can be read here: save it as PNG or JPEG",
     "{name} 파일은 여기에서 읽을 수 있는 사진이 아닙니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} is in LAB colours, which can't be read here: save it as PNG or JPEG",
     "{name} 파일은 여기에서 읽을 수 없는 LAB 색상입니다. PNG나 JPEG 형식으로 저장하세요"),
    ("{name} has no pixels ({width}×{height}): save it again",
     "{name} 파일에는 픽셀이 없습니다({width}×{height}). 다시 저장하세요"),
    ("{name}, {width}×{height}, has a side above {most} pixels: make it smaller first",
     "{name} 파일은 {width}×{height} 크기로, 한 변이 {most}픽셀을 넘습니다. 먼저 크기를 줄이세요"),
    ("{name} has more than {most} megapixels: make it smaller first",
     "{name} 파일은 {most}메가픽셀을 넘습니다. 먼저 크기를 줄이세요"),
    ("{name}, {width}×{height}, has more than {most} megapixels: make it smaller first",
     "{name} 파일은 {width}×{height} 크기로, {most}메가픽셀을 넘습니다. 먼저 크기를 줄이세요"),
    # checkpoint
    ("{where}: config.json is damaged ({reason}); get the checkpoint again",
     "{where} 체크포인트의 config.json이 손상되었습니다({reason}). 체크포인트를 다시 받으세요"),
    ("{where}: config.json has no format_version; it is not a checkpoint of this program",
     "{where}: config.json에 format_version이 없습니다. 이 프로그램의 체크포인트가 아닙니다"),
    ("{where} was written by a newer version of this program (format {found}, this one reads up to {most}); "
     "update the program",
     "{where} 체크포인트는 이 프로그램의 더 새로운 버전에서 만들었습니다(형식 {found}, 여기에서는 {most}까지). "
     "프로그램을 업데이트하세요"),
    ("{where} is not a regular file", "{where}: 일반 파일이 아닙니다"),
    ("{where} is too large to be a checkpoint's", "{where} 파일은 체크포인트의 파일이라기에는 너무 큽니다"),
    ("{where} has no {file}; it is not a whole checkpoint",
     "{where}에 {file} 파일이 없습니다. 온전한 체크포인트가 아닙니다"),
    ("{where} can't be read ({reason}); get it again", "{where} 파일을 읽을 수 없습니다({reason}). 다시 받으세요"),
    ("{where} is damaged: a JSON object was expected", "{where} 파일은 손상되었습니다. JSON 객체가 들어 있어야 합니다"),
    ("{where} is damaged: its JSON is nested too deeply; get the checkpoint again",
     "{where} 체크포인트는 손상되었습니다. JSON이 너무 깊이 중첩되어 있습니다. 체크포인트를 다시 받으세요"),
    ("{where} has no gen_ab.safetensors or gen_ba.safetensors",
     "{where}에 gen_ab.safetensors나 gen_ba.safetensors 파일이 없습니다"),
    ("{file} is a pickle, which is never loaded: use `python -m cyclegan import`",
     "{file} 파일은 pickle 형식이라 절대 불러오지 않습니다. `python -m cyclegan import`를 쓰세요"),
    ("{where}/checkpoint.json is damaged: it names no epoch; get the checkpoint again",
     "{where}/checkpoint.json 파일은 손상되었습니다. 에폭이 적혀 있지 않습니다. 체크포인트를 다시 받으세요"),
    ("{where} translates {only} only, not {direction}", "{where}: {only} 방향만 있고 {direction} 방향은 없습니다"),
    ("{file} does not fit its config.json ({generator}, ngf {ngf}): {key} and {count} more differ",
     "{file} 파일이 config.json({generator}, ngf {ngf})의 내용과 맞지 않습니다. {key} 외 {count}개가 다릅니다"),
    ("{file} is damaged: its checksum is not the recorded one",
     "{file} 파일은 손상되었습니다. 체크섬이 기록된 값과 다릅니다"),
    ("{file} is damaged ({reason}); get it again", "{file} 파일은 손상되었습니다({reason}). 다시 받으세요"),
    ("config.json describes no network that can be built ({reason})",
     "config.json의 내용으로는 신경망을 만들 수 없습니다({reason})"),
    ("{folder} is not a folder; name a run's folder, which holds epoch-0001 and on",
     "{folder}: 폴더가 아닙니다. epoch-0001부터 들어 있는 학습 실행 폴더를 입력하세요"),
    ("{folder} holds no checkpoint: a run's folder holds epoch-0001 and on",
     "{folder}: 체크포인트가 없습니다. 학습 실행 폴더에는 epoch-0001부터 들어 있습니다"),
    ("{run} can't be listed any more ({reason})", "{run} 폴더의 목록을 더는 읽을 수 없습니다({reason})"),
    ("{run} holds no readable checkpoint: {reason}", "{run}에 읽을 수 있는 체크포인트가 없습니다: {reason}"),
    ("{run} has no epoch {epoch}; it has {have}", "{run}에 에폭 {epoch}번이 없습니다. 있는 에폭: {have}"),
    # translator
    ("this checkpoint translates {only} only, not {direction}",
     "이 체크포인트에는 {only} 방향만 있고 {direction} 방향은 없습니다"),
    ("a picture of {width}×{height} needs more memory to translate than there is ({reason}): choose a smaller "
     "working size",
     "{width}×{height} 크기의 사진을 변환하기에는 메모리가 모자랍니다({reason}). 더 작은 처리 크기를 고르세요"),
    # translate_files
    ("{name} is an archive that is not opened here: pack its pictures as .zip",
     "{name} 파일은 여기에서 열지 않는 압축 파일입니다. 사진을 .zip으로 묶으세요"),
    ("{name} is an archive within {zip}, which is not opened: unpack it first",
     "{zip} 안의 {name} 파일은 압축 파일이라 열지 않습니다. 먼저 압축을 푸세요"),
    ("{name} is not a picture", "{name} 파일은 사진이 아닙니다"),
    ("{name} has more than {most} MB unpacked: make it smaller first",
     "{name} 파일은 압축을 풀면 {most}MB를 넘습니다. 먼저 크기를 줄이세요"),
    ("{zip} lists more than {most} files: send its pictures in parts",
     "{zip} 안에 파일이 {most}개 넘게 있습니다. 사진을 나누어 올리세요"),
    ("{zip} is damaged or no zip: pack it again", "{zip} 파일은 손상되었거나 zip이 아닙니다. 다시 압축하세요"),
    ("{zip} is encrypted: pack it without a password", "{zip} 파일은 암호화되어 있습니다. 암호 없이 다시 압축하세요"),
    ("{zip} has more than {most} GB unpacked: send its pictures in parts",
     "{zip} 파일은 압축을 풀면 {most}GB를 넘습니다. 사진을 나누어 올리세요"),
    ("{name} is damaged within {zip}: pack it again", "{zip} 안의 {name} 파일은 손상되었습니다. 다시 압축하세요"),
    ("the results take more than {most} GB: send fewer or smaller pictures at a time",
     "결과가 {most}GB를 넘습니다. 한 번에 올리는 사진의 수나 크기를 줄이세요"),
    ("there is no picture among these files: {reason}", "이 파일들 가운데 사진이 없습니다: {reason}"),
    ("there is no picture in it", "안에 사진이 없습니다"),
    ("{name} can't be written ({reason}): free space first",
     "{name} 파일을 쓸 수 없습니다({reason}). 먼저 저장 공간을 비우세요"),
    ("{name}: {sentence}", "{name}: {sentence}"),
    # video and translate_video
    ("{name} has no frame that can be read: copy or download it again",
     "{name} 동영상에는 읽을 수 있는 프레임이 없습니다. 다시 복사하거나 내려받으세요"),
    ("{name} has sound only: give a video", "{name} 파일에는 소리만 있습니다. 동영상을 고르세요"),
    ("{name} has no picture track: give a video", "{name} 파일에는 영상이 없습니다. 동영상을 고르세요"),
    ("{name} is {width}×{height}, beyond what H.264 holds (8192×4352): make it smaller",
     "{name} 동영상은 {width}×{height} 크기로, H.264의 한계(8192×4352)를 넘습니다. 크기를 줄이세요"),
    ("{name} is longer than {seconds} seconds: cut it first",
     "{name} 동영상은 {seconds}초를 넘습니다. 먼저 잘라 내세요"),
    ("{name} can't be read ({reason}): check the name and the permissions",
     "{name} 파일을 읽을 수 없습니다({reason}). 이름과 권한을 확인하세요"),
    ("{name} is not a video that can be read here: save it as mp4, mkv or webm",
     "{name} 파일은 여기에서 읽을 수 있는 동영상이 아닙니다. mp4, mkv, webm 가운데 한 형식으로 저장하세요"),
    ("this PyAV has no H.264 encoder: install it with pip install --force-reinstall av",
     "설치된 PyAV에 H.264 인코더가 없습니다. pip install --force-reinstall av 명령으로 다시 설치하세요"),
    ("{name} would have no frames: nothing was written", "{name} 동영상에 넣을 프레임이 없어 아무것도 쓰지 않았습니다"),
    ("{name} can't be written ({reason}): free space or choose another place",
     "{name} 파일을 쓸 수 없습니다({reason}). 저장 공간을 비우거나 다른 곳을 고르세요"),
    ("{name} would become {width}×{height}, and H.264 ends at {most}: choose a smaller size",
     "{name} 동영상이 {width}×{height} 크기가 되는데, H.264의 한계는 {most}입니다. 더 작은 크기를 고르세요"),
    ("{count} frames of {name} don't fit on the device: choose a smaller size",
     "{name} 동영상의 {count}프레임이 장치의 메모리에 다 들어가지 않습니다. 더 작은 크기를 고르세요"),
    # hub/source
    ("{text} names nothing on the Hub: use USER/NAME, or USER/NAME@epoch-0012 for one epoch",
     "{text}: Hub의 이름이 아닙니다. USER/NAME 형식으로, 에폭 하나만이라면 USER/NAME@epoch-0012 형식으로 입력하세요"),
    ("of {repo}, only the one epoch that is kept here can be used: {reason}",
     "{repo} 저장소에서는 이곳에 받아 둔 에폭 하나만 쓸 수 있습니다: {reason}"),
    ("of {repo}, only the {count} epochs that are kept here can be used: {reason}",
     "{repo} 저장소에서는 이곳에 받아 둔 에폭 {count}개만 쓸 수 있습니다: {reason}"),
    ("{where} could not be loaded: {reason}", "{where} 체크포인트를 불러오지 못했습니다: {reason}"),
    ("{where}: its samples have {size} MB, too much to show",
     "{where} 체크포인트의 시험 사진은 {size}MB나 되어 보여 줄 수 없습니다"),
    ("the samples of {where} could not be loaded: {reason}",
     "{where} 체크포인트의 시험 사진을 불러오지 못했습니다: {reason}"),
    ("{tag} holds epoch {epoch}", "{tag} 태그에 에폭 {epoch}번이 들어 있습니다"),
    ("{repo} holds pickles such as {file}, which are never loaded; if they are of the reference implementation: "
     "python -m cyclegan import --from hub:{same_repo}:{same_file} --output runs/imported",
     "{repo} 저장소에는 {file} 같은 pickle 파일이 있는데, 이런 파일은 절대 불러오지 않습니다. 참조 구현의 파일이라면 "
     "python -m cyclegan import --from hub:{same_repo}:{same_file} --output runs/imported 명령을 쓰세요"),
    ("{repo} holds no checkpoint of this program: no tag such as epoch-0001, no checkpoint.json",
     "{repo} 저장소에는 이 프로그램의 체크포인트가 없습니다. epoch-0001 같은 태그도 checkpoint.json도 없습니다"),
    ("{repo} has no revision {revision}; it has {have}",
     "{repo} 저장소에 {revision} 리비전이 없습니다. 있는 리비전: {have}"),
    ("{repo} has no revision {revision}; name a commit by all its 40 digits",
     "{repo} 저장소에 {revision} 리비전이 없습니다. 커밋은 40자리를 모두 입력하세요"),
    ("epoch {epoch} of {run} can't be had; {reason} ({have})",
     "{run} 저장소의 에폭 {epoch}번을 가져올 수 없습니다. {reason} ({have})"),
    ("{where}: {file} is too large to be a checkpoint's",
     "{where}: {file} 파일은 체크포인트의 파일이라기에는 너무 큽니다"),
    ("{where} has no {file}; choose another epoch", "{where}에 {file} 파일이 없습니다. 다른 에폭을 고르세요"),
    ("{where}: {file} has {size} GB, too much for a generator",
     "{where}: {file} 파일은 생성자치고는 너무 큽니다({size}GB)"),
    ("{where}: {file} has {size} MB where its config.json describes {most} MB at most; it was not downloaded",
     "{where}: {file} 파일은 {size}MB인데, config.json에 따르면 {most}MB를 넘을 수 없습니다. 내려받지 않았습니다"),
    # ui
    ("there is no run {name} here; there is {have}", "{name}: 여기에 없는 학습 실행입니다. 있는 것: {have}"),
    ("{run} has no epoch that can be read", "{run}에 읽을 수 있는 에폭이 없습니다"),
    ("{run} has no epoch {epoch} that can be read", "{run}에 읽을 수 있는 에폭 {epoch}번이 없습니다"),
    ("This file was not uploaded here: choose it again", "여기에 올린 파일이 아닙니다. 다시 고르세요"),
    ("This file did not arrive: choose it again", "파일이 도착하지 않았습니다. 다시 고르세요"),
    ("This file arrived damaged: choose it again", "파일이 손상된 채로 도착했습니다. 다시 고르세요"),
    ("{run} holds no readable checkpoint", "{run}에 읽을 수 있는 체크포인트가 없습니다"),
    ("{direction} is no direction: give {choices}", "{direction}: 없는 방향입니다. {choices} 중에서 고르세요"),
    ("epoch {epoch} translates {only} only: choose that, or another epoch",
     "에폭 {epoch}번에는 {only} 방향만 있습니다. 그 방향이나 다른 에폭을 고르세요"),
    ("{value} is no epoch: name one like {example}", "{value}: 에폭이 아닙니다. {example}처럼 입력하세요"),
    ("there is no working size {size}: choose {choices}, or {least} to {most} pixels",
     "{size}: 없는 처리 크기입니다. {choices} 중에서 고르거나 {least}~{most} 사이의 픽셀 수를 입력하세요"),
    ("there is no reading {reading}: choose {choices}", "{reading}: 없는 선택입니다. {choices} 중에서 고르세요"),
    ("{file} of {tag} has {width}×{height} pixels, too many for a page",
     "{tag}의 {file} 파일은 {width}×{height} 픽셀로, 페이지에 보여 주기에는 너무 큽니다"),
    ("there is no example {number} here; there are {count}",
     "{number}: 여기에 없는 예시입니다. 예시는 {count}개입니다"),
    ("there is no example {number} here; there are none", "{number}: 여기에 없는 예시입니다. 예시가 하나도 없습니다"),
    ("{value} is no epoch of {run}: name one like {example}",
     "{value}: {run}의 에폭이 아닙니다. {example}처럼 입력하세요"),
    ("{count} checkpoints are more than the {most} that can be compared: choose fewer",
     "체크포인트가 {count}개인데 {most}개까지 비교할 수 있습니다. 더 적게 고르세요"),
    ("entries is a list of checkpoints such as {example}", "entries는 {example} 같은 체크포인트의 목록이어야 합니다"),
    ("there is no study {name} here; there is {have}", "{name}: 여기에 없는 연구입니다. 있는 것: {have}"),
    ("there is no study {name} here", "{name}: 여기에 없는 연구입니다"),
    ("results are for the owner: give the server's {variable} as key",
     "결과는 운영자만 볼 수 있습니다. 서버의 {variable} 값을 함께 보내세요"),
    ("name a data set, whose test pictures are shown", "시험용 사진을 보여 줄 데이터 세트를 입력하세요"),
    ("the command ended without saying why, perhaps for lack of memory: run it from a shell",
     "명령이 이유를 남기지 않고 끝났습니다. 메모리가 모자랐을 수 있습니다. 셸에서 직접 실행해 보세요"),
    # study and study_commands, where studies are built
    ("{output} exists already: a study is frozen, so choose another name",
     "{output}: 이미 있는 연구입니다. 연구는 고정되어 있으므로 다른 이름을 쓰세요"),
    ("{name} can't be a study's name: use letters, digits, dot, hyphen, underscore",
     "{name}: 연구의 이름으로 쓸 수 없습니다. 영문자, 숫자, 점, 하이픈, 밑줄만 쓰세요"),
    ("{name} can't be a study's name: the files of its page are there",
     "{name}: 연구의 이름으로 쓸 수 없습니다. 연구 페이지의 파일이 놓이는 자리입니다"),
    ("{text} is no text that can be shown: leave out what can't be printed",
     "{text}: 화면에 표시할 수 없는 글자가 있습니다. 그 글자를 빼세요"),
    ("{output} can't be written ({reason}): free space or name another --output",
     "{output} 폴더에 쓸 수 없습니다({reason}). 저장 공간을 비우거나 다른 이름을 쓰세요"),
    ("{folder} can't be written ({reason}): free space or name another",
     "{folder} 폴더에 쓸 수 없습니다({reason}). 저장 공간을 비우거나 다른 이름을 쓰세요"),
    ("the study would not be blind, so it was not kept: {reason}",
     "사진 자체가 아닌 단서로 진짜를 알 수 있게 되므로 연구를 저장하지 않았습니다: {reason}"),
    ("a session needs {count} {missing} and the study has {number}: take a larger data set, or lower practice_trials "
     "and test_trials",
     "한 사람에게 {missing} {count}장이 필요한데 {number}장밖에 없습니다. 더 큰 데이터 세트를 쓰거나 연습 횟수와 "
     "본시험 횟수를 줄이세요"),
    ("a session needs {count} real pictures of other scenes than its {fakes} fakes, and the study has {number}: take "
     "a larger data set, or lower practice_trials and test_trials",
     "한 사람에게 가짜 사진 {fakes}장과 다른 장면의 진짜 사진 {count}장이 필요한데 {number}장밖에 없습니다. 더 큰 "
     "데이터 세트를 쓰거나 연습 횟수와 본시험 횟수를 줄이세요"),
    ("{needs}. There are {inputs} to translate and {reals} real ones; practice keeps {practice} for itself",
     "{needs}. 변환할 사진은 {inputs}장, 진짜 사진은 {reals}장이며, 연습에 쓰는 {practice}장은 본시험에 쓰지 않습니다"),
    ("{needs}. There are {inputs} to translate; practice keeps {practice} for itself",
     "{needs}. 변환할 사진은 {inputs}장이며, 연습에 쓰는 {practice}장은 본시험에 쓰지 않습니다"),
    ("the data set does not say which real picture shows the same scene, so pairing can't be same: choose --pairing "
     "different, or take paired data",
     "데이터 세트에서 같은 장면의 진짜 사진을 알 수 없습니다. 다른 장면끼리 짝짓는 프로토콜을 고르거나 짝이 있는 "
     "데이터 세트를 쓰세요"),
    ("the data set has no real picture of the scene of {name}: choose --pairing different",
     "{name}: 데이터 세트에 같은 장면의 진짜 사진이 없습니다. 다른 장면끼리 짝짓는 프로토콜을 고르세요"),
    ("{field} is {value}: it goes from {least} to {most}",
     "{field}: {value} 값은 쓸 수 없습니다. {least}에서 {most} 사이의 값을 넣으세요"),
    ("too few comparisons are left beside vigilance, controls and repeats: lower their shares",
     "주의 확인 시행과 반복 쌍을 빼면 비교할 시행이 너무 적습니다. 그 비율을 줄이세요"),
    ("tagging shows one fake at a time, without practice, vigilance or controls",
     "이상한 점을 표시하는 연구는 가짜 사진을 한 장씩만 보여 줍니다. 연습, 주의 확인, 반복 없이 만드세요"),
    ("qualification is judged in practice: practice_trials can't be 0",
     "이 프로토콜은 연습 성적으로 참여 자격을 정하므로 연습 횟수가 0일 수 없습니다"),
    ("picking compares epochs: name at least two", "에폭끼리 비교하는 연구입니다. 에폭을 두 개 이상 고르세요"),
    ("{run} has no epoch {epoch}: choose --epochs from {have}", "{run}에 에폭 {epoch}번이 없습니다. 있는 에폭: {have}"),
    ("epochs {one} and {other} were trained on pictures prepared in different ways, so their fakes can't be compared "
     "in one study: build one for each",
     "에폭 {one}번과 {other}번은 서로 다르게 준비한 사진으로 학습되어 한 연구에서 비교할 수 없습니다. 연구를 따로 "
     "만드세요"),
    ("epoch {epoch} of {run} has changed meanwhile: build the study again",
     "그사이 {run}의 에폭 {epoch}번이 바뀌었습니다. 연구를 다시 만드세요"),
    ("{dataset} has no test pictures: add them, or try it out with --split train",
     "{dataset}: 시험용 사진이 없습니다. 시험용 사진을 넣으세요"),
    # data
    ("{folder} has neither trainA and trainB nor train in it; found in it: {found}",
     "{folder} 폴더에 trainA와 trainB도, train도 없습니다. 있는 것: {found}"),
    ("{folder} has neither trainA and trainB nor train in it; found in it: {found}. Did you mean {inner}?",
     "{folder} 폴더에 trainA와 trainB도, train도 없습니다. 있는 것: {found}. 혹시 {inner} 폴더인가요?"),
    ("{file} is a file, not a data set: unpack it if it is an archive",
     "{file}: 데이터 세트가 아니라 파일입니다. 압축 파일이라면 먼저 푸세요"),
    ("{missing}, and it is no id of a data set on the Hub", "{missing}. Hub의 데이터 세트 이름도 아닙니다"),
    ("{missing}, and the Hub is not asked, as {parent} is a folder here",
     "{missing}. {parent} 폴더가 여기에 있으므로 Hub에서는 찾지 않았습니다"),
    ("{missing}, and the Hub's data sets need a package: pip install datasets",
     "{missing}. Hub의 데이터 세트를 쓰려면 패키지가 필요합니다: pip install datasets"),
    ("{missing}, and the Hub has no data set of that name that you may read: check the name, or run hf auth login if "
     "it is private",
     "{missing}. 그 이름으로 읽을 수 있는 Hub의 데이터 세트도 없습니다. 이름을 확인하거나, 비공개라면 hf auth "
     "login을 실행하세요"),
    ("{missing}, nor a data set of that name in the Hub's local cache, and the Hub can't be reached: check the "
     "folder's name, or the network",
     "{missing}. 그 이름으로 받아 둔 Hub의 데이터 세트도 없고 Hub에 연결할 수도 없습니다. 폴더 이름이나 네트워크를 "
     "확인하세요"),
    ("{missing}, and the Hub can't be reached to look for a data set of that name: check the folder's name, or the "
     "network",
     "{missing}. Hub에 연결할 수 없어 그 이름의 데이터 세트도 찾지 못했습니다. 폴더 이름이나 네트워크를 확인하세요"),
    ("{missing}, and as a data set of the Hub it could not be opened ({kind}: {reason}): check the name and the "
     "network",
     "{missing}. Hub의 데이터 세트로도 열지 못했습니다({kind}: {reason}). 이름과 네트워크를 확인하세요"),
    ("{repo} is gated: accept its terms on its page, then run hf auth login",
     "{repo} 데이터 세트는 약관에 동의해야 쓸 수 있습니다. 그 페이지에서 동의한 뒤 hf auth login을 실행하세요"),
    ("{repo} has several configurations: choose {same_repo}:CONFIG out of {have}",
     "{repo} 데이터 세트에는 구성이 여러 개 있습니다. {same_repo}:CONFIG 형식으로 하나를 고르세요. 있는 것: {have}"),
)  # fmt: skip
"""(English, Korean), by module; `{name}` stands for what the library puts there, which stays as it is unless it is
known itself; `{sentence}` has to be. No particle that depends on a name's last sound follows a place."""

WITHIN: tuple[tuple[str, str], ...] = (
    # What an upload is called, before 파일.
    ("This file", "이"),
    ("the picture", "이 사진"),
    # What pictures of an epoch are called, and choices.
    ("{file} of epoch-{number}", "epoch-{number}의 {file}"),
    ("ab or ba", "ab, ba"),
    ("both or ab or ba", "both, ab, ba"),
    # What a session of a study needs, and the fields of its protocol.
    ("pictures to translate", "변환할 사진"),
    ("real pictures", "진짜 사진"),
    ("broken pictures", "망가뜨린 사진"),
    ("more real pictures for vigilance trials", "주의 확인 시행에 쓸 진짜 사진"),
    ("more pictures for vigilance trials", "주의 확인 시행에 쓸 사진"),
    ("practice_trials", "연습 횟수"),
    ("test_trials", "본시험 횟수"),
    ("vigilance_share", "주의 확인 시행 비율"),
    ("repeat_share", "반복 쌍 비율"),
    # A data set that is not there.
    ("there is no folder {name}", "{name} 폴더가 없습니다"),
    ("there is no folder {name} (did you mean {near}?)", "{name} 폴더가 없습니다(혹시 {near} 폴더인가요?)"),
    ("no folder", "폴더 없음"),
    # Why a picture doesn't fit.
    ("{size} GB can be had", "쓸 수 있는 메모리 {size}GB"),
    ("the device has too little", "장치의 메모리 부족"),
    ("the disk for temporary files is full", "임시 파일을 둘 디스크가 가득 참"),
    # What systems give as the reason, in lower case too.
    ("No such file or directory", "그런 파일이나 폴더가 없음"),
    ("Permission denied", "권한 없음"),
    ("No space left on device", "저장 공간 부족"),
    ("Input/output error", "입출력 오류"),
    ("Is a directory", "폴더임"),
    ("Not a directory", "폴더가 아님"),
)  # fmt: skip
"""As KOREAN, of what stands within sentences in the place of a name."""

OF_THE_HUB: tuple[tuple[str, str], ...] = (
    # hub/client
    ("{file} has {size} bytes, too many for what it should be", "{file} 파일은 {size}바이트로, 지나치게 큽니다"),
    ("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it",
     "HF_HUB_OFFLINE이 설정되어 있어 Hub에 접속하지 않습니다. 설정을 해제하세요"),
    ("the Hub ({address}) can't be reached; check the network, then try again",
     "Hub({address})에 연결할 수 없습니다. 네트워크를 확인한 뒤 다시 해 보세요"),
    ("the disk is full; free some space", "디스크가 가득 찼습니다. 공간을 비우세요"),
    ("{address} did not answer as the Hub does; check HF_ENDPOINT and any proxy",
     "{address} 주소의 응답이 Hub의 응답과 다릅니다. HF_ENDPOINT와 프록시를 확인하세요"),
    ("the Hub's client failed ({reason}); try again, or update huggingface_hub",
     "Hub 클라이언트에 오류가 났습니다({reason}). 다시 해 보거나 huggingface_hub를 업데이트하세요"),
    ("{repo} has no such revision; name a tag such as epoch-0012, a branch, or a commit",
     "{repo} 저장소에 그런 리비전이 없습니다. epoch-0012 같은 태그나 브랜치, 커밋을 입력하세요"),
    ("{repo} has no such file; look at {address}", "{repo} 저장소에 그런 파일이 없습니다. {address} 주소를 확인하세요"),
    ("the Hub does not accept the Hugging Face token; make one that can write at {address}, then run `hf auth login` "
     "or set HF_TOKEN",
     "Hub에서 Hugging Face 토큰을 받아들이지 않습니다. {address} 주소에서 쓰기 권한이 있는 토큰을 만든 다음 "
     "`hf auth login`을 실행하거나 HF_TOKEN을 설정하세요"),
    ("{repo} is not on the Hub, or private; check the name",
     "{repo} 저장소는 Hub에 없거나 비공개입니다. 이름을 확인하세요"),
    ("the token may not write to {repo}; use a token that may, or another USER/NAME",
     "토큰에 {repo} 저장소의 쓰기 권한이 없습니다. 권한이 있는 토큰이나 다른 USER/NAME을 쓰세요"),
    ("{repo} is not on the Hub, or hidden from the token; check the name and the token",
     "{repo} 저장소는 Hub에 없거나 이 토큰으로는 볼 수 없습니다. 이름과 토큰을 확인하세요"),
    ("the Hub takes no more for now (it limits requests, and commits to 128 an hour); try again later",
     "Hub에서 지금은 더 받지 않습니다(요청 수와 한 시간 128개의 커밋 수에 제한이 있습니다). 나중에 다시 해 보세요"),
    ("the Hub is out of order ({status}); try again later",
     "Hub에 장애가 있습니다({status}). 나중에 다시 해 보세요"),
    ("the Hub refused ({status}: {reason}); mend that first",
     "Hub에서 거절했습니다({status}: {reason}). 먼저 그 문제를 해결하세요"),
)  # fmt: skip
"""As KOREAN; these are also quoted without their remedy, which follows the last semicolon, in Korean the last stop."""

PLACE = r"\{(\w+)\}"
JOINT = "; "
"""Between sentences that are told together, and within some."""
MAX_LENGTH, MAX_JOINED, MAX_DEPTH = 800, 8, 3
"""Beyond, a sentence stays English: visitors may name what they like, and patterns take long over long texts."""


def in_language(sentence: str, language: str) -> str:
    """One of the library's sentences in a visitor's language, with its names and numbers.

    Args:
        sentence: in English, without a full stop; several may be joined by semicolons.
        language: one of `words.LANGUAGES`.

    Returns:
        The sentence; as it came where no pattern knows it.
    """
    sentence = str(sentence)
    if language == "en" or len(sentence) > MAX_LENGTH:
        return sentence
    return _korean(sentence, MAX_DEPTH) or sentence


@functools.lru_cache(1024)
def _korean(text: str, depth: int) -> str | None:
    """None for what no pattern knows.

    Args:
        text: one sentence, or several that are joined.
        depth: how often a sentence may be within another.
    """
    parts = text.split(JOINT) if depth else [""]
    for count in range(1, min(len(parts), MAX_JOINED)):
        first = _korean_of_one(JOINT.join(parts[:count]), depth)
        rest = _korean(JOINT.join(parts[count:]), depth) if first else None
        if rest:
            return f"{first}. {rest}"
    return _korean_of_one(text, depth) if depth else None


def _korean_of_one(text: str, depth: int) -> str | None:
    for pattern, korean in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: _korean(value, depth - 1) for name, value in found.groupdict().items()}
            if values.get("sentence", korean):
                return korean.format(**{name: value or found[name] for name, value in values.items()})
    return None


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The tables, those that say most first: a text may fit several."""
    reasons = [(english.rpartition(JOINT)[0], korean.rpartition(". ")[0]) for english, korean in OF_THE_HUB]
    pairs = [*KOREAN, *OF_THE_HUB, *WITHIN, *((english, korean) for english, korean in reasons if english)]
    pairs.sort(key=lambda pair: len(re.sub(PLACE, "", pair[0])), reverse=True)
    return [(_pattern(english), korean) for english, korean in pairs]


def _pattern(english: str) -> re.Pattern[str]:
    """What finds the values in a sentence. Whatever the case: some of what systems say is quoted in lower case."""
    text, *rest = re.split(PLACE, english)
    places = (f"(?P<{name}>.*?){re.escape(after)}" for name, after in zip(rest[::2], rest[1::2], strict=True))
    return re.compile(re.escape(text) + "".join(places), re.DOTALL | re.IGNORECASE)
