create database desk;
create database mail;
create database bi;
